"""Fixtures of the budget's tests."""

import threading

import pytest


@pytest.fixture
def run_threads():
    """Run functions in threads that start together; raise what they raised."""

    def run(*functions) -> None:
        barrier = threading.Barrier(len(functions))
        errors: list[BaseException] = []

        def guarded(function) -> None:
            try:
                barrier.wait(10)
                function()
            except BaseException as error:
                errors.append(error)

        threads = [
            threading.Thread(target=guarded, args=(function,), daemon=True)
            for function in functions
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert not any(thread.is_alive() for thread in threads), "a thread hangs"
        if errors:
            raise errors[0]

    return run
