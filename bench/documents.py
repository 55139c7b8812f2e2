"""JSON of a given size, as services have it: a list of items."""

import json


def items(size, first=0):
    """A list of as many items as fit into `size` bytes; `first` is the id that the first of them has."""
    text = ""
    for number in range(size):
        item = {"id": f"{first + number:08}", "name": f"item {number}", "price": number + 0.5, "tags": ["new", "red"], "stock": True}
        longer = text + ("," if text else "") + json.dumps(item, separators=(",", ":"))
        if len(longer) + 2 > size:
            break
        text = longer
    return f"[{text}]"
