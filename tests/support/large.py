"""Tables as a system has them after years: mostly finished instances, made by the database itself."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    FromClause,
    Integer,
    String,
    Table,
    case,
    cast,
    insert,
    literal_column,
    null,
    select,
    text,
    union_all,
)

from edda.ids import HANDLERS_SUFFIX
from edda.storage.dialects.base import Dialect
from edda.storage.models import (
    metadata,
    workflow_channels,
    workflow_history,
    workflow_inbox,
    workflow_instances,
    workflow_messages,
    workflow_outbox,
    workflow_outbox_keys,
    workflow_subscriptions,
    workflow_waits,
)
from tests.support.writes import WORKFLOW

DAY = 86_400
# Of an accepted event's key, which has 64 characters.
KEY_PREFIX, FIRST_KEY = "e" * 54, 1_000_000_000
# Of each thousand instances so many wait for a timer and for a message, so many have failed,
# and one is due; all others are completed.
_TIMER, _MESSAGE, _FAILED, _DUE = (100, 200, 220, 221)
# Of ten thousand instances one is an event whose handlers gave up.
_DEAD_LETTERS = 10_000
_TOPICS = 5000


def fill(connection: Connection, dialect: Dialect, rows: int) -> None:
    """Fill the tables and have the planner know them.

    So many instances, accepted and sent events, twice as many steps, a tenth of messages, and in each
    thousand of the instances 200 that wait and one that is due.
    """
    each = _numbers(rows)
    _fill_instances(connection, dialect, each)
    for step in ("pay:1", "ship:1"):
        _insert(
            connection,
            workflow_history,
            each,
            instance_id=_named("large-", each.c.number),
            activity_id=_text(step),
            event_type=_text("ActivityCompleted"),
            event_data=_text('{"result":1}'),
            created_at=dialect.now(),
        )
    _fill_waits(connection, dialect, each)
    _fill_exchange(connection, dialect, each)
    _fill_events(connection, dialect, each)
    for table in metadata.tables:
        connection.execute(text(f"ANALYZE {'TABLE ' if dialect.name == 'mysql' else ''}{table}")).close()


def _fill_instances(connection: Connection, dialect: Dialect, each: FromClause) -> None:
    number = each.c.number
    place = number % 1000
    is_dead_letter = number % _DEAD_LETTERS == 0
    then = dialect.after(-cast(number, Integer))
    later = dialect.after(cast(number + DAY, Integer))
    _insert(
        connection,
        workflow_instances,
        each,
        instance_id=_named("large-", number),
        workflow_name=case((is_dead_letter, _text("shop" + HANDLERS_SUFFIX)), else_=_text(WORKFLOW)),
        source_hash=_text("hash"),
        owner_service=_text("shop"),
        status=case(
            (is_dead_letter, _text("failed")),
            (place < _TIMER, _text("waiting_for_timer")),
            (place < _MESSAGE, _text("waiting_for_message")),
            (place < _FAILED, _text("failed")),
            (place < _DUE, _text("running")),
            else_=_text("completed"),
        ),
        started_at=then,
        updated_at=then,
        input_data=_text("{}"),
        lease_token=literal_column("1"),
        attempts=literal_column("0"),
        due_at=case(
            (is_dead_letter, null()),
            (place < _TIMER, later),
            (place < _FAILED, null()),
            (place < _DUE, then),
            else_=null(),
        ),
    )


def _fill_waits(connection: Connection, dialect: Dialect, each: FromClause) -> None:
    waiting = select(each.c.number).where(each.c.number % 1000 < _MESSAGE).subquery("waiting")
    number = waiting.c.number
    is_for_timer, topic = number % 1000 < _TIMER, _named("topic ", number % _TOPICS)
    _insert(
        connection,
        workflow_waits,
        waiting,
        instance_id=_named("large-", number),
        activity_id=_text("wait:1"),
        kind=case((is_for_timer, _text("timer")), else_=_text("message")),
        due_at=case((is_for_timer, dialect.after(cast(number + DAY, Integer))), else_=null()),
        channel=case((is_for_timer, null()), else_=topic),
    )
    _insert(
        connection,
        workflow_subscriptions,
        waiting,
        subscriber_id=_named("large-", number),
        channel=topic,
        mode=_text("broadcast"),
        position=literal_column("0"),
    )


def _fill_exchange(connection: Connection, dialect: Dialect, each: FromClause) -> None:
    """Channels with their messages."""
    number = each.c.number
    channels = select(number).where(number < _TOPICS).subquery("few")
    _insert(
        connection,
        workflow_channels,
        channels,
        channel=_named("topic ", channels.c.number),
        next_position=literal_column("1000000"),
        mode=_text("broadcast"),
    )
    tenth = select(number).where(number % 10 == 0).subquery("tenth")
    _insert(
        connection,
        workflow_messages,
        tenth,
        channel=_named("topic ", tenth.c.number % _TOPICS),
        target=_text(""),
        position=tenth.c.number,
        message_id=_named("message-", tenth.c.number),
        data=_text("1"),
        metadata=_text("{}"),
        published_at=dialect.after(-cast(tenth.c.number, Integer)),
    )


def _fill_events(connection: Connection, dialect: Dialect, each: FromClause) -> None:
    """Accepted events, events that were sent, and some keys of events that wait."""
    number = each.c.number
    then = dialect.after(-cast(number, Integer))
    _insert(
        connection,
        workflow_inbox,
        each,
        event_key=_named(KEY_PREFIX, number + FIRST_KEY),
        owner_service=_text("shop"),
        source=_text("/shop"),
        event_id=_named("event-", number),
        event_type=_text("order.placed"),
        received_at=then,
    )
    _insert(
        connection,
        workflow_outbox_keys,
        each,
        ordering_key=_named("key ", number),
        due_at=dialect.after(cast(number + DAY, Integer)),
    )
    _insert(
        connection,
        workflow_outbox,
        each,
        event_id=_named("sent-", number),
        event_type=_text("order.paid"),
        event_source=_text("/shop"),
        content_type=_text("application/json"),
        event_data=_text("{}"),
        data_form=_text("json"),
        created_at=then,
        status=_text("published"),
        published_at=then,
    )


def _insert(connection: Connection, into: Table, each: FromClause, /, **values: Any) -> None:
    rows = select(*values.values()).select_from(each)
    connection.execute(insert(into).from_select([*values], rows))


def _numbers(rows: int) -> FromClause:
    """The numbers below this, in a way that all databases have."""
    digits: CompoundSelect[Any] = union_all(
        *(select(literal_column(str(digit)).label("digit")) for digit in range(10))
    )
    places = [digits.subquery(f"place_{place}") for place in range(len(str(rows - 1)))]
    number: ColumnElement[int] = literal_column("0", Integer)
    for power, place in enumerate(places):
        number += place.c.digit * literal_column(str(10**power), Integer)
    crossed: FromClause = places[0]
    for place in places[1:]:
        crossed = crossed.join(place, place.c.digit >= places[0].c.digit * literal_column("0"))
    every = select(number.label("number")).select_from(crossed).subquery("every")
    return select(every.c.number).where(every.c.number < literal_column(str(rows))).subquery("numbers")


def _named(prefix: str, number: ColumnElement[Any]) -> ColumnElement[str]:
    return _text(prefix) + cast(number, String(20))


def _text(value: str) -> ColumnElement[str]:
    return literal_column("'" + value + "'", String)
