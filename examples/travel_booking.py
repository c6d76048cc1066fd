"""A trip as a saga: flight, hotel and car are booked one after the other, and then the card is declined.

Run it from the top of the repository::

    python examples/travel_booking.py

It tells the story of three trips: one that is paid, one whose payment is declined, and one
that its traveller cancels while it waits for the confirmation of the hotel::

    Ada   books a flight to Lisbon
    Ada   books a hotel in Lisbon
    Ada   books a car in Lisbon
    Ada   pays 480.00
    Ada   -> completed

    Bob   books a flight to Oslo
    Bob   books a hotel in Oslo
    Bob   books a car in Oslo
    Bob   cannot pay 910.00
    Bob   gives the car back
    Bob   cancels the hotel
    Bob   cancels the flight
    Bob   -> failed: the card of Bob is declined

    Cleo  books a flight to Kyoto
    Cleo  books a hotel in Kyoto
    Cleo  waits for the confirmation of the hotel
    Cleo  cancels the hotel
    Cleo  cancels the flight
    Cleo  -> cancelled by the traveller

With ``EDDA_DB_URL`` (default: in memory) the trips are kept, and a process that dies in the
middle of a rollback leaves the rest of it to the next one that runs this file's workflows.
"""

from __future__ import annotations

import asyncio
import os

from edda import (
    EddaApp,
    TerminalError,
    WorkflowContext,
    activity,
    compensation,
    on_failure,
    register_compensation,
    sleep,
    workflow,
)

DB_URL = os.environ.get("EDDA_DB_URL", "sqlite:///:memory:")


# What undoes a booking gets the arguments of the booking and the parts of its result, by name.
# It may run more than once before it is recorded, so it cancels by number: that is done once.


@compensation
async def cancel_flight(ctx: WorkflowContext, traveller: str, flight: str) -> None:
    say(traveller, "cancels the flight")


@compensation
async def cancel_hotel(ctx: WorkflowContext, traveller: str, hotel: str) -> None:
    say(traveller, "cancels the hotel")


@compensation
async def return_car(ctx: WorkflowContext, traveller: str) -> None:
    say(traveller, "gives the car back")


@activity
@on_failure(cancel_flight)
async def book_flight(ctx: WorkflowContext, traveller: str, city: str) -> dict[str, str]:
    say(traveller, f"books a flight to {city}")
    return {"flight": f"F-{ctx.instance_id[-4:]}"}


@activity
@on_failure(cancel_hotel)
async def book_hotel(ctx: WorkflowContext, traveller: str, city: str) -> dict[str, str]:
    say(traveller, f"books a hotel in {city}")
    return {"hotel": f"H-{ctx.instance_id[-4:]}"}


@activity
async def book_car(ctx: WorkflowContext, traveller: str, city: str) -> None:
    say(traveller, f"books a car in {city}")
    # Inside the activity this commits with it, exactly as @on_failure does.
    await register_compensation(ctx, return_car, traveller)


@activity
async def pay(ctx: WorkflowContext, traveller: str, amount: float) -> None:
    if amount > 500:
        say(traveller, f"cannot pay {amount:.2f}")
        raise TerminalError(f"the card of {traveller} is declined")
    say(traveller, f"pays {amount:.2f}")


@workflow
async def trip(ctx: WorkflowContext, traveller: str, city: str, amount: float, hours: float = 0) -> None:
    """Nothing here undoes anything: what was booked is known to the library."""
    await book_flight(ctx, traveller, city)
    await book_hotel(ctx, traveller, city)
    if hours > 0:
        say(traveller, "waits for the confirmation of the hotel")
        await sleep(ctx, hours * 3600)
    await book_car(ctx, traveller, city)
    await pay(ctx, traveller, amount)


async def main() -> None:
    async with EddaApp("travel", DB_URL) as app:
        await trip.start(traveller="Ada", city="Lisbon", amount=480.0)
        say("Ada", "-> completed\n")

        try:
            await trip.start(traveller="Bob", city="Oslo", amount=910.0)
        except TerminalError as error:
            say("Bob", f"-> failed: {error}\n")

        waiting = await trip.start(traveller="Cleo", city="Kyoto", amount=300.0, hours=24)
        engine = app.replay_engine
        assert engine is not None
        await engine.cancel_workflow(waiting, cancelled_by="the traveller")
        say("Cleo", "-> cancelled by the traveller")


def say(traveller: str, what: str) -> None:
    print(f"{traveller:5} {what}", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
