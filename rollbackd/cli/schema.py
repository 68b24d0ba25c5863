"""``rollbackd schema``: the configuration file's JSON Schema."""

import click


@click.command()
def schema() -> None:
    """Print the JSON Schema of the configuration file, for editors."""
    import json  # noqa: PLC0415 - nothing else here needs it

    from rollbackd.config.models import json_schema  # noqa: PLC0415 - pydantic, when needed

    click.echo(json.dumps(json_schema(), indent=2, ensure_ascii=False))
