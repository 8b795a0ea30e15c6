"""Input that nobody sane would send, to everything that reads what others wrote: `make fuzz SECONDS=60`.

    inputs     how right input is spoiled
    targets    who reads it, and what must hold whatever he is given
    __main__   the program; a short run of the same targets is in `tests.unit.fuzz`

A target is a property: it is given one input, and raises when the reader does anything but take it or refuse it in the
reader's own way. hypothesis makes the inputs and shortens what it finds.
"""
