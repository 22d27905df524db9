"""A team from a file: two questions to a reader, then a page of both answers by a writer.

`waybell run examples/team/tasks.toml --model offline` runs the same file.

Prints:
    task:started hours
    task:finished hours
    task:started metal
    task:finished metal
    task:started page
    task:finished page
    metal: A church bell is cast of bronze: four parts copper, one part tin.
    page: 2 sources, done
    calls: reader 2, writer 1; circuit closed
"""

from pathlib import Path

from waybell_agents import OpenMultiAgent, Team


team = Team.load(Path(__file__).parent / "team/tasks.toml", model="offline")
many = OpenMultiAgent()
with many.stream_tasks(team=team, max_concurrent=1) as stream:
    for item in stream:
        print(item["event"], item["task"])
result = stream.result

print("metal:", result["metal"].value)
page = result["page"]
print(
    f"page: {sum(f'[{name}]' in page.value for name in result)} sources, {page.status}"
)
status = many.get_status()
calls = ", ".join(f"{name} {one['calls']}" for name, one in status["agents"].items())
print(f"calls: {calls}; circuit {status['state']}")
