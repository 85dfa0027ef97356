"""Published experiments run anew, their figures beside those of the papers; it trains what every user trains."""
