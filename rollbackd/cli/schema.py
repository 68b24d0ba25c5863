"""``rollbackd schema``: the configuration file's JSON Schema, or the definition of RollbackPolicy."""

import click


@click.command()
@click.option("--crd", is_flag=True, help="Print the CustomResourceDefinition of RollbackPolicy.")
def schema(crd: bool) -> None:
    """Print the JSON Schema of the configuration file, for editors.

    With --crd, what `kubectl apply -f -` takes for policies in the cluster.
    """
    import json  # noqa: PLC0415 - nothing else here needs it

    from rollbackd.config.custom_resource import definition  # noqa: PLC0415 - pydantic, when needed
    from rollbackd.config.models import json_schema  # noqa: PLC0415

    made = definition() if crd else json_schema()
    click.echo(json.dumps(made, indent=2, ensure_ascii=False))
