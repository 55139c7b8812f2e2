"""Written sets of documents: a file each, whose first lines tell what is expected.

    # differs: WHAT              copies differ from Istio's, and convert says so
    # says: TEXT                 convert says this; without such a line it says nothing that explains a difference
    # error                      convert fails
    # not compared: WHY          only what convert says is looked at
"""

import random
import re

import yaml

from oracle.sets import requests


class File:
    """A file of the corpus."""

    kind = "files"

    def __init__(self, path):
        text = path.read_text()
        self.name, self.documents = path.stem, list(yaml.safe_load_all(text))
        self.says = re.findall(r"^# says: (.*)$", text, re.MULTILINE)
        self.differs, self.is_error, self.is_not_compared = (
            re.search(f"^# {word}", text, re.MULTILINE) for word in ("differs: ", "error$", "not compared: "))

    def requests(self, is_gateway, count=80):
        return requests(random.Random(self.name), self.documents, is_gateway, count)


def failures(paths, istiod, upstreams, folder, totals, batch, convert):
    """What is not as the files tell."""
    files, found = [File(path) for path in paths], []
    for file in files:
        code, said = convert(file.documents, folder)
        if bool(code) != bool(file.is_error):
            found.append(f"{file.name}: convert ends with {code}: {said}")
        found += [f"{file.name}: convert does not say {text!r}: {said}" for text in file.says if text not in " ".join(said.split())]
    comparable = [file for file in files if not file.is_not_compared]
    wrong = {id(one): [found.difference for found in silent + told]
             for one, silent, told in batch(comparable, istiod, upstreams, folder, totals)}
    for file in comparable:
        if refused := getattr(file, "refused", None):
            found.append(f"{file.name}: refused by istiod: {refused}")
        differences = wrong.get(id(file), [])
        if bool(differences) != bool(file.differs):
            first = differences[0] if differences else None
            found.append(f"{file.name}: {len(differences)} requests differ" + (
                f": {first.table.title} {first.request}\n  istiod:  {first.native}\n  convert: {first.plugin}" if first else ""))
    return found
