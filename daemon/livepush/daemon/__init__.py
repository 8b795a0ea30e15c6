"""The daemon behind `twistd -n livepush`: consumes from the broker and pushes to the browsers of those who may know."""
