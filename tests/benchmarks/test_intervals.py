"""The share that intervals hold on the last tenth of a file, by the command."""

from __future__ import annotations

from benchmarks import intervals
from tests.exp.small_runs import table, train


def test_both_methods_are_counted_over_the_windows_of_the_last_tenth(tmp_path, capsys):
    table(1000, channels=2).to_csv(tmp_path / "my.csv", index=False)
    fit = train(tmp_path / "my.csv", tmp_path / "results", "--train_epochs", "3")
    capsys.readouterr()
    intervals.main(["--checkpoint", str(fit), "--data_path", str(tmp_path / "my.csv"), "--levels", "0.8"])
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("|")][2:]
    held = {method.strip(): float(share) for method, _, share, _ in rows}
    assert set(held) == {"conformal", "adaptive"} and abs(held["adaptive"] - 0.8) < 0.1
