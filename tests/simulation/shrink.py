"""A failing plan made shorter: happenings are left out, in ever smaller parts, as long as it goes on failing."""

RUNS = 200


def shortest(plan, fails):
    """Return the shortest plan found that fails like `plan`, trying at most RUNS others."""
    runs, size = 0, max(1, len(plan.happenings) // 2)
    while size:
        at = 0
        while at < len(plan.happenings) and runs < RUNS:
            shorter = plan.without(plan.happenings[at : at + size])
            runs += 1
            if fails(shorter):
                plan = shorter
            else:
                at += size
        size //= 2
    return plan
