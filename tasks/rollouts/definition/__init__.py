"""What a rollout is: its plan, its schedule, how it is guarded."""
