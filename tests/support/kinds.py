"""Importable classes of every kind that a value may have, and strategies for such values."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum
from functools import cached_property
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypedDict, TypeVar
from zoneinfo import ZoneInfo

from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, computed_field, field_validator

T = TypeVar("T")


class Color(StrEnum):
    RED = "red"
    GREEN = "green"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Shape(Enum):
    POINT = (0, 0)
    LINE = (0, 1)


class Rights(Flag):
    READ = 1
    WRITE = 2


class UserId(str):
    __slots__ = ()


class Point(NamedTuple):
    x: int
    y: Any = 0


@dataclass
class Line:
    start: Point
    length: Decimal = Decimal(1)
    tags: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.calls = getattr(self, "calls", 0) + 1

    @cached_property
    def text(self) -> str:
        return f"{self.start}+{self.length}"


@dataclass(frozen=True, slots=True)
class Frozen:
    a: int
    b: Any = None


class Item(BaseModel):
    sku: str
    quantity: int = 1
    price: Decimal = Decimal("9.99")


class SpecialItem(Item):
    discount: float = 0.5


class Order(BaseModel):
    id: int
    items: list[Item] = []
    due: dt.date | None = None
    color: Color = Color.RED
    by_level: dict[Level, str] = {}


class Loose(BaseModel):
    """A field without a type, and a private attribute."""

    anything: Any
    _seen: Any = PrivateAttr(default=0)


class Aliased(BaseModel):
    number: int = Field(alias="orderNumber")
    text: str = Field(default="", validation_alias="in", serialization_alias="out")


class Computed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    side: int

    @computed_field
    def area(self) -> int:
        return self.side**2


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    known: int


class Counting(BaseModel):
    """Its validator changes the value each time it is asked."""

    count: int

    @field_validator("count")
    @classmethod
    def _count(cls, value: int) -> int:
        return value + 1


class Hiding(BaseModel):
    shown: int
    secret: str = Field(default="unset", exclude=True)


class Page(BaseModel, Generic[T]):
    items: list[T]


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    tricks: list[str] = []


Pet = Annotated[Cat | Dog, Field(discriminator="kind")]


class Address(TypedDict):
    street: str
    since: dt.date


ZONES = [dt.UTC, dt.timezone(dt.timedelta(hours=-3, minutes=-30)), ZoneInfo("Europe/Berlin"), None]

texts = st.text(st.characters(exclude_categories=[]), max_size=8)
aware_or_naive = st.datetimes(timezones=st.sampled_from(ZONES), allow_imaginary=True)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | texts
    | st.binary(max_size=8)
    | aware_or_naive
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.decimals()
    | st.uuids()
    | st.sampled_from([*Color, *Level, *Shape, Rights.READ | Rights.WRITE, UserId("u1")])
)
hashables = (
    st.none()
    | st.booleans()
    | st.integers()
    | texts
    | st.dates()
    | st.uuids()
    | st.sampled_from([*Color, *Level])
)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(texts, inner, max_size=3)
        | st.dictionaries(hashables, inner, max_size=3)
        | st.dictionaries(st.integers(), inner, max_size=3)
        | st.builds(Point, st.integers(), inner)
        | st.builds(Frozen, st.integers(), inner)
        | st.builds(Loose, anything=inner)
    )


orders = st.builds(
    Order,
    id=st.integers(),
    items=st.lists(st.builds(Item, sku=texts) | st.builds(SpecialItem, sku=texts), max_size=2),
    due=st.none() | st.dates(),
    color=st.sampled_from(Color),
    by_level=st.dictionaries(st.sampled_from(Level), texts, max_size=2),
)
sets = st.sets(hashables, max_size=4) | st.frozensets(hashables, max_size=4)
values = st.recursive(scalars | orders | sets, containers, max_leaves=8)
plain_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
