r"""Accounts of your own in the same database: what a step writes there commits with the step, or not at all.

Run it from the top of the repository::

    uvicorn --app-dir examples user_tables:app

The server prints what is there::

    Ada has 100, Bob has 0

Move some of it, first what is there, then more than there is::

    curl -i http://localhost:8000/ -H 'content-type: application/cloudevents+json' \
        -d '{"specversion": "1.0", "id": "1", "source": "/bank", "type": "transfer",
             "data": {"sender": "Ada", "receiver": "Bob", "amount": 30}}'

The server prints::

    Ada has 70, Bob has 30

and for the second one::

    curl -i http://localhost:8000/ -H 'content-type: application/cloudevents+json' \
        -d '{"specversion": "1.0", "id": "2", "source": "/bank", "type": "transfer",
             "data": {"sender": "Ada", "receiver": "Bob", "amount": 500}}'

it prints::

    Ada has too little for 500
    Ada has 70, Bob has 30

The activity adds before it subtracts, and the addition is undone when it raises. Such a step takes effect
exactly once, however often its process dies: its record and its rows are one transaction.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import CheckConstraint, select, update
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.applications import Starlette
from starlette.routing import Mount

from edda import EddaApp, TerminalError, WorkflowContext, activity, workflow

DB_FILE = os.environ.get("EDDA_DB_FILE", "user_tables.db")


class Base(DeclarativeBase):
    """The tables of the application; those of edda are made by edda."""


class Account(Base):
    __tablename__ = "accounts"
    __table_args__ = (CheckConstraint("amount >= 0"),)
    owner: Mapped[str] = mapped_column(primary_key=True)
    amount: Mapped[int]


@activity
async def move(ctx: WorkflowContext, sender: str, receiver: str, amount: int) -> None:
    """Everything through ``ctx.session``: no commit of its own, the activity commits."""
    await add(ctx.session, receiver, amount)
    account = await ctx.session.get_one(Account, sender, with_for_update=True)
    if account.amount < amount:
        raise TerminalError(f"{sender} has too little for {amount}")
    account.amount -= amount


async def add(session: AsyncSession, owner: str, amount: int) -> None:
    change = update(Account).where(Account.owner == owner).values(amount=Account.amount + amount)
    await session.execute(change)


@activity
async def show(ctx: WorkflowContext) -> None:
    accounts = await ctx.session.scalars(select(Account).order_by(Account.owner))
    print(", ".join(f"{one.owner} has {one.amount}" for one in accounts), flush=True)


@activity
async def complain(ctx: WorkflowContext, reason: str) -> None:
    print(reason, flush=True)


@workflow(event_handler=True)
async def transfer(ctx: WorkflowContext, sender: str, receiver: str, amount: int) -> None:
    try:
        await move(ctx, sender, receiver, amount)
    except TerminalError as error:
        await complain(ctx, str(error))
    await show(ctx)


@workflow
async def show_accounts(ctx: WorkflowContext) -> None:
    await show(ctx)


workflows = EddaApp("bank", f"sqlite:///{DB_FILE}")


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    """Make the tables of the application and two accounts, then let edda begin."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{DB_FILE}")
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        session = AsyncSession(connection)
        if await session.get(Account, "Ada") is None:
            session.add_all([Account(owner="Ada", amount=100), Account(owner="Bob", amount=0)])
            await session.flush()
    await engine.dispose()
    async with workflows:
        await show_accounts.start()
        yield


app = Starlette(routes=[Mount("/", workflows)], lifespan=lifespan)
