"""What is built on top of the wire: pure transformations of requests and responses."""
