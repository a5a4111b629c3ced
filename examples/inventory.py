"""A small stock-keeping program, to be recorded: python examples/inventory.py

Makes a price list as CSV, loads it into a database in memory, books random orders against it, reports as JSON
and proposes reorders. The figures differ from run to run; the bug at the end is always met: what is to be
reordered follows from the days for which the stock has lasted, and one article is sold out on day 0.
"""

from __future__ import annotations

import csv
import json
import os
import random
import sqlite3
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ARTICLES = ("bolt", "nut", "washer", "spring", "gasket", "bearing", "lamp", "fuse")
DAYS = 14


@dataclass(frozen=True)
class Order:
    article: str
    quantity: int
    day: int


def write_price_list(path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("article", "stock", "price"))
        for article in ARTICLES:
            writer.writerow((article, random.randint(20, 60), f"{random.uniform(0.1, 9.9):.2f}"))


def load(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE stock (article PRIMARY KEY, initial, quantity, price, sold_out)")
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            values = (row["article"], int(row["stock"]), int(row["stock"]), float(row["price"]))
            database.execute("INSERT INTO stock VALUES (?, ?, ?, ?, NULL)", values)
    return database


def draw_orders() -> list[Order]:
    orders = [Order(random.choice(ARTICLES), random.randint(1, 9), day) for day in range(DAYS) for _ in range(4)]
    return [Order(random.choice(ARTICLES), 60, 0), *orders]  # the first one takes all there is


def book(database: sqlite3.Connection, order: Order) -> float:
    """Takes an order out of the stock, as far as there is any; returns what it is worth."""
    stock = database.execute("SELECT quantity, price FROM stock WHERE article = ?", (order.article,))
    left, price = stock.fetchone()
    delivered = min(left, order.quantity)
    sold_out = order.day if delivered == left else None
    database.execute(
        "UPDATE stock SET quantity = quantity - ?, sold_out = coalesce(sold_out, ?) WHERE article = ?",
        (delivered, sold_out, order.article),
    )
    return float(price * delivered)


def reorder(article: str, initial: int, days: int) -> int:
    """As much as sells in thirty days."""
    print(f"{article}: {initial} lasted {days} days", flush=True)
    return round(30 * initial / days)


def main() -> None:
    print(f"inventory of {time.strftime('%F %T')}, process {os.getpid()}")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "prices.csv")
        write_price_list(path)
        database = load(path)
    worth = sum(book(database, order) for order in draw_orders())
    stock = dict(database.execute("SELECT article, quantity FROM stock ORDER BY article"))
    print(json.dumps({"sold for": round(worth, 2), "stock": stock}), flush=True)
    query = "SELECT article, initial, sold_out FROM stock WHERE sold_out NOT NULL ORDER BY sold_out DESC"
    for article, initial, days in database.execute(query):
        print(f"reorder {reorder(article, initial, days)}")


if __name__ == "__main__":
    main()
