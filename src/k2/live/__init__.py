"""What the live views of the toolbox share: how numbers look, rates, the client's books, the screen."""
