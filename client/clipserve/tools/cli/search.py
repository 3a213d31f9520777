"""`clipserve search`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

import click

from clipserve.client import Client
from clipserve.filters.conditions import Filter
from clipserve.tools.cli.common import filter_of_where, read_filter
from clipserve.tools.cli.options import Server, filter_option, root_option, server_options
from clipserve.tools.cli.output import print_json
from clipserve.tools.cli.paths import OutputFile
from clipserve.tools.cli.query import Query
from clipserve.tools.cli.search_output import document, entry, not_shown, show, too_few_points
from clipserve.tools.cli.sheet_pictures import pictures_of, shown_points
from clipserve.tools.cli.stdin import FILE_OR_STDIN, TEXT_OR_STDIN, picture_input
from clipserve.tools.cli.terminal import say
from clipserve.tools.sheets.contact_sheet import write_sheet
from clipserve.tools.sheets.entries import SUFFIXES, Sheet
from clipserve.tools.sheets.thumbnail import ModelView, Picture, view_of
from clipserve.types import SearchResult


@click.command()
@click.argument("text", required=False, type=TEXT_OR_STDIN)
@click.option("--image", "-i", type=FILE_OR_STDIN, help="Search with a picture, not a text.")
@click.option("--like", metavar="ID", help="Search for points similar to this point of the collection.")
@click.option(
    "--plus", multiple=True, metavar="TEXT", type=TEXT_OR_STDIN, help="Text to add to the query; repeatable."
)
@click.option(
    "--minus",
    multiple=True,
    metavar="TEXT",
    type=TEXT_OR_STDIN,
    help="Text to subtract from the query; repeatable.",
)
@click.option("--collection", "-c", required=True, metavar="NAME", help="Collection to search.")
@click.option(
    "--top", "-k", default=10, show_default=True, type=click.IntRange(1), help="Maximum number of hits."
)
@click.option("--threshold", type=click.FloatRange(-1, 1), help="Leave out hits with a lower cosine.")
@filter_option
@click.option("--where", "-w", multiple=True, hidden=True, help="Deprecated: use --filter.")
@click.option("--group-duplicates", is_flag=True, help="Show one hit for each group of near-duplicates.")
@click.option(
    "--sheet", type=OutputFile(*SUFFIXES), help="Write a contact sheet of the hits to a .png or .html file."
)
@root_option
@server_options
def search(
    text: str | None,
    image: Path | None,
    like: str | None,
    plus: tuple[str, ...],
    minus: tuple[str, ...],
    collection: str,
    top: int,
    threshold: float | None,
    filter_text: str | None,
    where: tuple[str, ...],
    group_duplicates: bool,
    sheet: Path | None,
    root: Path | None,
    server: Server,
) -> None:
    """Find the pictures nearest to a text or a picture.

    The query is TEXT, a picture file (--image), or a point of the collection (--like). TEXT or a picture
    given as - is read from standard input.

    Scores are cosines. Which cosine is high depends on the model and on the kind of query, so compare the
    column `percentile`: 99.9 % means that one in a thousand random pairs of this collection scores as high.
    If the best hit is below 95 %, nothing matches well. The percentile is shown if the collection has at
    least 20 points and the query has no --plus or --minus. It is low for words that the model does not know.

    \b
    Examples:
      clipserve search "a dog playing in the snow" -c holiday -k 5 --sheet hits.png
      clipserve search --image beach.jpg -c holiday --filter 'modified >= "2024-01-01"'
      clipserve search --like "sea/c.jpg" -c holiday --group-duplicates
      clipserve search "a beach" --plus "at night" --minus people -c holiday
      clipserve search "a red car" -c holiday --filter 'folder in ["a", "b"] and bytes > 100000'
      clipserve search "a red car" -c holiday --threshold 0.2 --json
    """
    query = Query(text, None if image is None else picture_input(image), like, plus, minus)
    query.check()
    with server.client() as client:
        result = client.search(
            collection,
            **query.arguments(),
            top_k=top,
            score_threshold=threshold,
            filter=condition(client, collection, filter_text, where),
            group_duplicates=group_duplicates,
        )
        few = ""
        if result.hits and query.is_single and all(hit.percentile is None for hit in result):
            few = too_few_points(collection, client.count(collection))
        contents = None
        if sheet is not None:
            view = view_of(client.get_collection(collection), client.info())
            pictures = pictures_of(client, collection, shown_points(result), root, view)
            shown = query_picture(client, collection, query, root, view)
            contents = make_sheet(result, query, shown, collection, pictures, view)
    if sheet is not None and contents is not None:
        write_sheet(contents, sheet)
        for sentence in not_shown(tuple(contents.entries)):
            say(sentence, err=True)
    if server.as_json:
        print_json(document(result, root))
    else:
        show(result, root)
        if few:
            say(few, err=True)
        if sheet is not None:
            say()
            say(f"wrote {sheet}")
    if result.incomplete:
        say("too many points are as near as the best hits; later groups may be missing", err=True)
    if result.truncated:
        say("the text is longer than the model reads; its end was cut off", err=True)


def condition(
    client: Client, collection: str, filter_text: str | None, where: tuple[str, ...]
) -> Filter | None:
    """The condition of --filter and the deprecated --where, with values of the schema's types."""
    if not where and filter_text is None:
        return None
    schema = client.get_collection(collection).schema
    given = read_filter(filter_text, schema)
    if not where:
        return given
    text = filter_of_where(where, schema)
    say(
        f"Warning: --where is deprecated and goes with the next release; write --filter {shlex.quote(text)}",
        err=True,
    )
    translated = read_filter(text, schema, "--where")
    return translated if given is None or translated is None else translated & given


def query_picture(
    client: Client, collection: str, query: Query, root: Path | None, view: ModelView
) -> Picture:
    if query.like is None:
        return query.image
    points = client.get_points(collection, [query.like])
    return pictures_of(client, collection, points, root, view).get(query.like)


def make_sheet(
    result: SearchResult,
    query: Query,
    shown: Picture,
    collection: str,
    pictures: Mapping[str, Picture],
    view: ModelView,
) -> Sheet:
    """The contact sheet; `pictures` has the hits' pictures by id."""
    entries = tuple(entry(hit, pictures) for hit in result)
    count = f"{len(entries)} best of {collection}" if entries else f"nothing in {collection}"
    judged = " and the share of random pairs with a lower score" if any(e.note for e in entries) else ""
    if result.weak_match:
        judged += " · nothing here matches well"
    return Sheet(
        title=query.title(),
        subtitle=f"{count} · model {result.model.name} · scores are cosines{judged}",
        entries=entries,
        query=shown,
        view=view,
    )
