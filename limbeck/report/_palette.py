"""The page's colours: one per role and per outcome, in all plots and tables, light and dark.

Plots are drawn with the light ones. The page's script replaces each by its dark partner, so no two
light colours may be equal.
"""

LIGHT = {
    "page": "#ffffff",
    "panel": "#f6f6f4",
    "line": "#e3e4e8",
    "ink": "#1d1f23",
    "muted": "#5d6470",
    "teacher": "#5350c4",
    "control": "#727985",
    "student": "#bf5712",
    "helped": "#1a7a4a",
    "hurt": "#bb2a43",
    "not-shown": "#626976",
    "warning": "#8f6400",
    "neutral": "#b4b8c1",
}
DARK = {
    "page": "#14161a",
    "panel": "#1c1f25",
    "line": "#30343d",
    "ink": "#e7e8eb",
    "muted": "#a3a9b4",
    "teacher": "#a09ef7",
    "control": "#9ea5b1",
    "student": "#f0934d",
    "helped": "#4fc48c",
    "hurt": "#f37f91",
    "not-shown": "#a8aeb9",
    "warning": "#e0b04a",
    "neutral": "#5b616d",
}


def css_variables(colours: dict[str, str]) -> str:
    """CSS declarations, `--student: #bf5712; ...`."""
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())


def dark_partners() -> dict[str, str]:
    """Light colour -> dark colour."""
    return {LIGHT[name]: DARK[name] for name in LIGHT}
