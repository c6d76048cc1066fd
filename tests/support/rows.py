"""Rows of users in tables of their own, and what transactions leave behind."""

from __future__ import annotations

from typing import cast

from sqlalchemy import Column, String, Table, insert, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import QueuePool

from edda import activity, clock, workflow
from edda.app import EddaApp
from edda.context import WorkflowContext
from edda.storage import models
from edda.storage.sqlalchemy_storage import SQLAlchemyStorage
from tests.support.eventually import eventually


class Base(DeclarativeBase):
    """The tables of a user, beside those of the library."""


class Order(Base):
    """A row of a user."""

    __tablename__ = "app_orders"
    name: Mapped[str] = mapped_column(String(100), primary_key=True)


orders: Table = cast("Table", Order.__table__)
# Without a key, so that a row which is there twice is seen.
notes = Table("app_notes", Base.metadata, Column("text", String(100)))


async def create_tables(app: EddaApp) -> None:
    """Make the tables of the user in the database of the app."""
    transaction = storage_of(app).transaction()
    connection = await transaction.session.connection()
    await connection.run_sync(Base.metadata.drop_all)
    await connection.run_sync(Base.metadata.create_all)
    await transaction.commit([])


def storage_of(app: EddaApp) -> SQLAlchemyStorage:
    """The storage of the app, with all that lies inside."""
    assert isinstance(app.storage, SQLAlchemyStorage)
    return app.storage


async def put(ctx: WorkflowContext, name: str, *more: str) -> None:
    """Add rows through the session of the context."""
    await add(ctx.session, name, *more)


@activity
async def put_row(ctx: WorkflowContext, name: str) -> str:
    await put(ctx, name)
    return name


@workflow
async def put_one(ctx: WorkflowContext, name: str) -> str:
    return await put_row(ctx, name)


async def add(session: AsyncSession, *names: str) -> None:
    for name in names:
        await session.execute(insert(orders).values(name=name))
        await session.execute(insert(notes).values(text=name))


def put_sync(ctx: WorkflowContext, name: str) -> None:
    """Add a row through the sync session of the context."""
    add_sync(ctx.sync_session, name)


def add_sync(session: Session, name: str) -> None:
    session.execute(insert(orders).values(name=name))
    session.execute(insert(notes).values(text=name))


async def rows(app: EddaApp) -> list[str]:
    """The rows of the user that others see, in order; one that is there twice comes twice."""
    async with storage_of(app).engine.connect() as connection:
        found = list(await connection.scalars(select(notes.c.text).order_by(notes.c.text)))
        assert sorted(set(found)) == list(await connection.scalars(select(orders.c.name).order_by("name")))
    return found


def connections_in_use(app: EddaApp) -> int:
    """How many connections are out of the pools, which never count the one of the writer."""
    storage = storage_of(app)
    engines = {engine.sync_engine for engine in (storage.engine, storage._sessions) if engine is not None}
    return sum(cast("QueuePool", engine.pool).checkedout() for engine in engines)


async def check_nothing_is_held(app: EddaApp) -> None:
    """No connection stays out of its pool, and the way to the file is free."""

    def check() -> None:
        assert connections_in_use(app) == 0
        assert not storage_of(app).gate.locked()

    await eventually(check)


async def steal(app: EddaApp, instance_id: str) -> None:
    """Hand the instance to another worker that died since: its lease has run out already."""
    table = models.workflow_instances
    stolen = (
        table.update()
        .where(table.c.instance_id == instance_id)
        .values(lease_owner="thief", lease_token=table.c.lease_token + 1, due_at=clock.now())
    )
    transaction = storage_of(app).transaction()
    await transaction.session.execute(stolen)
    await transaction.commit([])
