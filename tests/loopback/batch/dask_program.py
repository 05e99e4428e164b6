"""Batches on a Dask cluster, each a function that prints what it found.

A process of its own: a cluster leaves threads and sockets behind, which the tests would report.
"""

from __future__ import annotations

import sys

import distributed

from pi_native import Client, ConfigurationError

from . import work


def equal_prompts(client: Client, dask: distributed.Client) -> None:
    """Send equal prompts."""
    executor = dask.get_executor(pure=False)
    batch = client.map(work.MODEL, ["same"] * 20, executor=executor, concurrency=4)
    print([result.value for result in batch])


def pure(client: Client, dask: distributed.Client) -> None:
    """Try the executors that answer equal prompts once."""
    for executor in (dask.get_executor(), dask.get_executor(pure=True)):
        try:
            client.map(work.MODEL, ["p"], executor=executor)
        except ConfigurationError as exc:
            print(exc)


def killed_worker(client: Client, dask: distributed.Client, marker: str) -> None:
    """Kill a worker in the middle."""
    items = [f"{marker if n == 7 else ''}|p{n}" for n in range(20)]
    executor = dask.get_executor(pure=False)
    batch = client.map_tasks(work.die_once, items, executor=executor, concurrency=4)
    print([result.value for result in batch])


def main() -> None:
    """Run the function that the command line names, on a cluster of two workers."""
    name, url, *arguments = sys.argv[1:]
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=2, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as dask,
        Client(url) as client,
    ):
        globals()[name](client, dask, *arguments)


if __name__ == "__main__":
    main()
