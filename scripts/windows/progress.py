"""Execution of a plan step by step, with a summary of what is left to do."""

from __future__ import annotations

from environment import SetupError

from windows.plan import Action, Plan, Step, heading

DONE, STOPPED, PARTLY = 0, 1, 2


def carry_out(plan: Plan) -> int:
    """Execute a plan. Return DONE, STOPPED if a required action failed, or PARTLY if an optional one failed."""
    left: list[Step] = []
    for number, step in enumerate(plan.steps, 1):
        print(f"\n{heading(number, plan.count, step)}", flush=True)
        for note in step.notes:
            print(f"    {note}")
        if plan.obstacles:
            print(*plan.stops(), sep="\n")
            return STOPPED
        for action in step.actions:
            print(f"    > {action.shown}", flush=True)
            problem = attempt(action)
            if not problem:
                continue
            print(f"    {step.title} failed: {problem}\n    Remedy: {step.remedy}")
            if action.required:
                print("Stopped. Fix the problem and run again; completed steps are not repeated.")
                return STOPPED
            left.append(step)
            break
    for step in left:
        print(f"Left to do: {step.title}. {step.remedy}")
    print("\nimg2vid is installed. Double-click run_dashboard.cmd to open it.")
    return PARTLY if left else DONE


def attempt(action: Action) -> str:
    """Run the action. Return "" or the error message."""
    try:
        code = action.do()
    except (SetupError, OSError) as error:
        return str(error)
    return f"exit code {code}" if code else ""
