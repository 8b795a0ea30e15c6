"""The Django project of the soak: its channels, and everybody who publishes to them.

It imports nothing of the tests, because that would set up the tests' own Django.
"""
