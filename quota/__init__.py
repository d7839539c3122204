"""What each account sends and may send, as its owner sees it."""
