"""From a template to a page that holds all it needs: style, script and plots."""

from pathlib import Path
from typing import Any

from limbeck.report._palette import DARK, LIGHT, css_variables, dark_partners


def render(template: str, **context: Any) -> str:
    """The page; what `context` holds is escaped wherever the template puts it."""
    # These take a second to import, and only a page needs them.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup
    from plotly.offline import get_plotlyjs

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # The package's own style sheet, script and library are no data: they go in as they are.
    return environment.get_template(template).render(
        light=Markup(css_variables(LIGHT)),
        dark=Markup(css_variables(DARK)),
        dark_partners=dark_partners(),
        plotly_js=Markup(get_plotlyjs()),
        **context,
    )
