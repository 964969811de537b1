"""Runs two commands in turn, A B A B …, and compares a number that both print.

python ab.py [-n 5] --field tokens_per_s [--field-b NAME] [--less-is-better] [--json] "COMMAND A" "COMMAND B"

The number is a field of the last line of standard output that is a JSON object with it; dots reach into objects. A machine
drifts by more than most differences worth having, so only the ratio of medians taken in turn is quotable.
"""
import argparse
import json
import statistics
import subprocess
import sys


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("a", metavar="COMMAND_A")
    parser.add_argument("b", metavar="COMMAND_B")
    parser.add_argument("--field", required=True)
    parser.add_argument("--field-b", help="where B calls it otherwise")
    parser.add_argument("-n", type=int, default=5, help="runs of each")
    parser.add_argument("--less-is-better", action="store_true", help="seconds, not tokens a second")
    parser.add_argument("--json", action="store_true", help="one object at the end, nothing else")
    args = parser.parse_args()
    if args.n < 1:
        parser.error("-n: at least 1")
    return args


def find(value, field):
    for key in field.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def run(command, field):
    done = subprocess.run(command, shell=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"`{command}` failed with {done.returncode}:\n{done.stderr[-2000:]}")
    for line in reversed(done.stdout.splitlines()):
        try:
            found = find(json.loads(line), field)
        except ValueError:
            continue
        if found is not None:
            return float(found)
    sys.exit(f"`{command}` printed no JSON object with a number `{field}`; its output ends:\n{done.stdout[-500:]}")


def main():
    args = parse()
    fields = {"a": args.field, "b": args.field_b or args.field}
    values = {"a": [], "b": []}
    for turn in range(args.n):
        for side in ("a", "b"):
            values[side].append(run(getattr(args, side), fields[side]))
            if not args.json:
                print(f"{turn + 1}/{args.n} {side.upper()} {fields[side]} = {values[side][-1]:.6g}", flush=True)
    medians = {side: statistics.median(found) for side, found in values.items()}
    better = medians["b"] / medians["a"] if args.less_is_better else medians["a"] / medians["b"]
    if args.json:
        print(json.dumps({"field": args.field, "a": values["a"], "b": values["b"], "median": medians, "a_better_by": better}))
        return
    for side, found in values.items():
        print(f"{side.upper()} median {medians[side]:.6g} (from {min(found):.6g} to {max(found):.6g})  {getattr(args, side)}")
    print(f"A is {better:.3f} times as good as B ({'less' if args.less_is_better else 'more'} is better)")


main()
