"""Tests of the page's side of livepush: in Node with a made-up page, and in a real browser."""
