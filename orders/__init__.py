"""What a customer orders from the operator beyond his plan, and what he writes to him."""
