"""Make the table in benchmarks/README.md from results/*.csv; standard library only."""

from __future__ import annotations

import csv
from pathlib import Path

from _harness import OURS, RESULTS, verdict

README = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"


def table(folder: Path = RESULTS) -> str:
    """One Markdown section per CSV: every case with all contenders, then versions and machine."""
    sections = []
    for path in sorted(folder.glob("*.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        missing = {"case", "peer", "median", "unit", "ratio"} - set(rows[0] if rows else ())
        if rows and missing:
            raise SystemExit(
                f"{path} lacks the columns {', '.join(sorted(missing))}: write it with _harness.write_rows"
            )
        if rows:
            sections.append(section(path.stem, rows))
    return "\n\n".join(sections) if sections else "No results yet: `make bench`."


def section(name: str, rows: list[dict[str, str]]) -> str:
    lines = [
        f"### {name}",
        "",
        "| case | who | median | spread | ratio | target | floor |",
        "|---|---|---|---|---|---|---|",
    ]
    case = None
    for row in rows:
        shown = row["case"] if row["case"] != case else ""
        case = row["case"]
        who = f"**{OURS}**" if row["peer"] == OURS else row["peer"]
        ratio = f"{row['ratio']} ({row['ratio_of']})" if row["ratio"] else ""
        target = verdict(row["ratio"], row["target"]).removeprefix("(target ").removesuffix(")")
        median = f"{row['median']} {row['unit']}"
        spread = f"{row['spread']}, {row['rounds']} rounds"
        lines.append("| " + " | ".join([shown, who, median, spread, ratio, target, row["floor"]]) + " |")
    about = {(row["versions"], row["machine"]) for row in rows}
    lines += ["", *(f"{versions}. {machine}." for versions, machine in sorted(about))]
    return "\n".join(lines)


def main() -> None:
    text = README.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text(f"{before}{BEGIN}\n{table()}\n{END}{after}", encoding="utf-8")
    print(f"renewed the table in {README.name}")


if __name__ == "__main__":
    main()
