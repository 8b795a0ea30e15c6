"""The site that the attacks are made on."""
