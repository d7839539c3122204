"""Options with prices, orders with states, and what customers write; one module per noun."""

from orders.models.inquiries import Inquiry
from orders.models.options import Option, OptionKind
from orders.models.orders import Order, OrderQuerySet, OrderState

__all__ = ["Inquiry", "Option", "OptionKind", "Order", "OrderQuerySet", "OrderState"]
