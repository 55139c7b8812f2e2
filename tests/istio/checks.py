"""What is so, and what will be so after a while."""

import time

from envoy import Failure

SECONDS = 30


class Ended(Failure):
    """A process that is needed has ended: no waiting helps."""


def check(holds, why):
    if not holds:
        raise Failure(why)


def same(found, wanted, what):
    check(found == wanted, f"{what}: {found}, not {wanted}")


def until(attempt, seconds=SECONDS):
    """Tries until it does not fail; returns what it returns then, or fails as the last attempt did."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return attempt()
        except Ended:
            raise
        except (OSError, Failure) as error:
            if time.monotonic() > deadline:
                raise Failure(f"still so after {seconds} s: {error}") from error
        time.sleep(0.02)
