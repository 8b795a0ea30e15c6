"""The folder that holds the soak's Django project; it is put on the path of the processes that run it."""
