"""The policy daemon: who may send, how much, and who only guesses passwords."""
