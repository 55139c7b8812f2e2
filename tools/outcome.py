"""The table in an example's README: which requests are sent, who answers, who gets a copy; and services' logs held against it."""

import collections
import dataclasses
import re

MARKER = "x-mirrored-request"


@dataclasses.dataclass
class Row:
    """A row of the README's table."""

    times: int
    method: str
    authority: str
    path: str
    header: list[str]
    answered_by: str
    status: int
    copies: list[tuple[str, str]]
    copied_path: str
    share: float

    def numbered(self, number):
        """The path with a number in its query, which finds the request again in the logs."""
        return numbered(self.path, number)

    def headers(self):
        return {"host": self.authority, **dict(header.split(": ", 1) for header in self.header)}


def numbered(path, number):
    return f"{path}{'&' if '?' in path else '?'}n={number}"


def read_table(readme):
    lines = readme[readme.index("\n| request |") + 1 :].split("\n\n")[0].splitlines()[2:]
    return [read_row(line) for line in lines]


def read_row(line):
    request, header, answered_by, copy = (cell.strip() for cell in line.split("|")[1:-1])
    method, authority, path = re.search(r"`(\S+) http://([^/]+)(/\S*)`", request).groups()
    times = re.match(r"(\d+) ×", request)
    # `one` and `other`, as `authority`, with the path `path`
    services, *spans = [re.findall(r"`([^`]+)`", part) for part in copy.split(", as ")]
    spans = spans[0] if spans else []
    return Row(
        times=int(times[1]) if times else 1,
        method=method,
        authority=authority,
        path=path,
        header=re.findall(r"`([^`]+)`", header),
        answered_by=re.findall(r"`([^`]+)`", answered_by)[0],
        status=int(answered_by.split(", with ")[1]) if ", with " in answered_by else 200,
        copies=[(service, spans[0]) for service in services],
        copied_path=spans[1] if len(spans) > 1 else path,
        share=0.5 if "half" in copy else 1.0,
    )


def deviations(sent, logs):
    """What of the logs is not what the table says."""
    failures = []
    seen = collections.defaultdict(list)
    # The path of a copy may be another than that of its request; the number at its end is the same.
    copied = {numbered(row.copied_path, path.rsplit("n=", 1)[1]): path for path, row in sent.items()}
    for service, path, authority, marker, *_ in logs:
        seen[copied.get(path, path)].append((service, authority, marker == "true"))
    copies = collections.Counter()
    for path, row in sent.items():
        primary = (row.answered_by, row.authority, f"{MARKER}: true" in row.header)
        allowed = [[primary, *((*copy, True) for copy in row.copies)]]
        if row.share < 1:
            allowed.append([primary])
        if sorted(seen[path]) not in [sorted(lines) for lines in allowed]:
            failures.append(f"{path}: logged by {seen[path]}, not {allowed}")
        copies[row.path] += len(seen[path]) - 1
    failures += [f"{path} was not sent" for path in seen if path not in sent]
    for row in sent.values():
        if row.share < 1 and not row.times * 0.3 < copies[row.path] < row.times * 0.7:
            failures.append(f"{row.path}: {copies[row.path]} copies of {row.times} requests")
    return failures
