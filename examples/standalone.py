"""Workers and clients without Django, in one file.

python examples/standalone.py work [HOST…]     runs the workers until Ctrl-C
python examples/standalone.py call [HOST…]     calls them
"""

import sys

from gearmanny.client import AsyncClient, SimpleClient
from gearmanny.errors import TaskError
from gearmanny.worker import BaseWorker
from gearmanny.workrunner import WorkRunner


class PrimeWorker(BaseWorker):
    """Knows primes."""

    name = "prime"

    def task_factors(self, number: int) -> list[int]:
        """The prime factors of a number, the smallest first"""
        if number < 1:
            raise ValueError(f"{number} has no prime factors")
        factors, divisor = [], 2
        while divisor * divisor <= number:
            while number % divisor == 0:
                factors.append(divisor)
                number //= divisor
            divisor += 1
        return factors + [number] * (number > 1)

    def task_upto(self, limit: int):
        """Streams the primes up to a limit"""
        for candidate in range(2, limit + 1):
            self.progress(candidate, limit)
            if self.task_factors(candidate) == [candidate]:
                yield candidate


def call(hosts: list[str]) -> None:
    """Makes a call that waits, one that fails, several at once, and one that streams."""
    with SimpleClient(hosts, timeout=30) as client:
        print("functions:", ", ".join(client.prime_help()))
        print("360 =", " × ".join(map(str, client.prime_factors(number=360))))
        try:
            client.prime_factors(number=0)
        except TaskError as error:
            print(error)
    with AsyncClient(hosts) as client:
        works = [client.prime_factors(number=number) for number in (91, 97)]
        print("91, 97:", [work.get_result(timeout=30) for work in works])
        work = client.prime_upto(limit=20)
        updates = sum(1 for _ in work.updates(timeout=30))
        print(f"up to 20: {work.get_result()}, after {updates} updates")


if __name__ == "__main__":
    command, *hosts = sys.argv[1:] or ["help"]
    hosts = hosts or ["localhost:4730"]
    if command == "work":
        WorkRunner([PrimeWorker], hosts).start(threads=2)
    elif command == "call":
        call(hosts)
    else:
        sys.exit(__doc__)
