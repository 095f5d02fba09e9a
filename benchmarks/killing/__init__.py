"""The parts of `benchmarks.kills`: what is killed, where, and what must hold afterwards.

- `scenarios`: what is killed. A new one is a class with `prepare`, `act`, `resume` and `check`.
- `upkeep`: more of them: backups, compaction, repairs, following. All are in its `ALL`.
- `points`: where: every write of the product, found by an audit hook, or any moment.
- `searching`: a process that searches all the time, beside the one that is killed.
- `states`: what an index holds, and how two compare.
- `trial`: one kill, in processes forked from a clean server.
- `by_model`: kills of `wva index` with a real model, at amounts of work.
"""
