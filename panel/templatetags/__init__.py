"""What templates of all apps use."""
