"""What a rollout would do: its schedule and policy replayed by the real rules, before it starts."""
