"""Small exports in the shapes in which shop systems, spreadsheets and people write them.

Six invented orders, the same in each file as far as its shape can say them, with what ROBIN must be
told. The names of columns are facts about those systems; the data is made up.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

ZONE = "Europe/Amsterdam"


@dataclass(frozen=True)
class Order:
    """An order of the shop: what it is worth, what was refunded of it, and when it was placed there."""

    number: str
    email: str
    phone: str
    total: Decimal
    refunded: Decimal
    placed: datetime
    state: str

    def on(self, form: str) -> str:
        """The moment, on the shop's clock."""
        return self.placed.strftime(form)


def _make(number: str, email: str, total: str, placed: str, state: str, refunded: str = "0.00") -> Order:
    moment = datetime.fromisoformat(placed).replace(tzinfo=ZoneInfo(ZONE))
    phone = "+31612345001" if email.startswith("anna") else ""
    return Order(number, email, phone, Decimal(total), Decimal(refunded), moment, state)


PAID, CANCELLED, PENDING = "paid", "cancelled", "pending"
ORDERS = (
    _make("10001", "anna@example.com", "105.00", "2026-10-31 09:50:26", PAID),
    _make("10002", "bob@example.com", "1234.50", "2026-10-31 10:05:00", PAID),
    _make("10003", "carl@example.com", "40.00", "2026-10-31 11:00:00", CANCELLED),
    _make("10004", "dora@example.com", "55.25", "2026-10-31 12:00:00", PENDING),
    _make("10005", "eva@example.com", "60.00", "2026-10-31 13:15:30", PAID, "20.00"),
    _make("10006", "anna@example.com", "12.95", "2026-10-31 22:30:00", PAID),
)
Told = tuple[str, str, int, str]


@dataclass(frozen=True)
class Case:
    """A file, and the number, address, cents and moment of each order that is told of it."""

    name: str
    content: bytes
    told: tuple[Told, ...]
    currency: str = "EUR"


def tell(
    number: Callable[[str], str] = str,
    *,
    has_refunds: bool = True,
    precision: str = "%Y-%m-%d %H:%M:%S",
) -> tuple[Told, ...]:
    """What is told of the orders, dated as precisely as a file has them."""
    told = []
    for order in ORDERS:
        if order.state != PAID:
            continue
        written = datetime.strptime(order.on(precision), precision)  # noqa: DTZ007 (given below)
        moment = written.replace(tzinfo=order.placed.tzinfo).astimezone(UTC)
        worth = order.total - (order.refunded if has_refunds else 0)
        told.append(
            (number(order.number), order.email, int(worth * 100), moment.strftime("%Y-%m-%dT%H:%M:%SZ"))
        )
    return tuple(told)


def write(header: str, rows: Sequence[Sequence[object]], delimiter: str = ",") -> str:
    """A text of these rows; the header's names have a bar between them."""
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerows([header.split("|"), *rows])
    return text.getvalue()


def point(amount: Decimal) -> str:
    return f"{amount:,.2f}"


def comma(amount: Decimal, between: str = ".") -> str:
    return f"{amount:,.2f}".translate(str.maketrans(",.", "\0,")).replace("\0", between)


def words(paid: str, cancelled: str, pending: str) -> dict[str, str]:
    return {PAID: paid, CANCELLED: cancelled, PENDING: pending}


MINUTES, DAYS = "%Y-%m-%d %H:%M", "%Y-%m-%d"
PAID_ORDERS = [order for order in ORDERS if order.state == PAID]
PLAIN = [(one.number, one.email, one.total, one.placed.isoformat()) for one in PAID_ORDERS]
ROBIN = "order_number|email_address|revenue|order_date"
# %-d and the like drop a leading zero.
SHOPIFY = (
    "Name|Email|Financial Status|Paid at|Currency|Subtotal|Shipping|Taxes|Total|Created at|"
    "Lineitem quantity|Lineitem name|Lineitem price|Cancelled at|Refunded Amount|Phone|Source"
)


def write_shopify(amount: Callable[[Decimal], str], form: str, delimiter: str) -> str:
    state = words("paid", "voided", "pending")
    return write(
        SHOPIFY,
        [
            (
                *(f"#{one.number}", one.email),
                "partially_refunded" if one.refunded else state[one.state],
                *("", "EUR", amount(one.total), "0", "0", amount(one.total), one.on(form), "1", "T"),
                *(amount(one.total), one.on(form) if one.state == CANCELLED else ""),
                *(amount(one.refunded), f"'{one.phone}" if one.phone else "", "web"),
            )
            for one in ORDERS
        ],
        delimiter,
    )


def split(order: Order) -> tuple[Decimal, Decimal]:
    """The order's total as that of two items."""
    first = round(order.total / 3, 2)
    return first, order.total - first


def make_cases() -> list[Case]:
    """Every case that can be used."""
    return [*_make_orders(), *_make_spreadsheets(), *_make_items()]


def _make_orders() -> list[Case]:
    """One row for each order, named in another language or way."""
    dutch, german = (
        words("Betaald", "Geannuleerd", "Wacht op betaling"),
        words("Abgeschlossen", "Storniert", "Zahlung ausstehend"),
    )
    french = words("Paiement accepté", "Annulé", "En attente de paiement")
    commerce = words("Completed", "Cancelled", "Awaiting Payment")
    magento = words("complete", "canceled", "pending_payment")
    return [
        Case(
            "dutch.csv",
            write(
                "Ordernummer|Datum|Tijd|Naam|E-mailadres|Telefoon|Status|Totaalbedrag|Terugbetaald",
                [
                    (
                        *(one.number, one.on("%d-%m-%Y"), one.on("%H:%M"), "N", one.email, one.phone),
                        *(dutch[one.state], comma(one.total), comma(one.refunded)),
                    )
                    for one in ORDERS
                ],
                ";",
            ).encode(),
            tell(precision=MINUTES),
        ),
        Case(
            "german.csv",
            write(
                "Bestellnummer|Bestelldatum|Kunde|E-Mail|Gesamtbetrag|Erstattet|Währung|Status",
                [
                    (
                        *(one.number, one.on("%d.%m.%Y %H:%M:%S"), "Müller", one.email),
                        *(f"{comma(one.total)} €", f"{comma(one.refunded)} €", "EUR", german[one.state]),
                    )
                    for one in ORDERS
                ],
                ";",
            ).encode("cp1252"),
            tell(),
        ),
        Case(
            "french.csv",
            write(
                "Référence|Date|Client|Adresse e-mail|Total|Remboursé|État",
                [
                    (
                        *(one.number, one.on("%d/%m/%Y %H:%M:%S"), "C", one.email),
                        *(f"{comma(one.total, chr(0x202F))}\u00a0€", f"{comma(one.refunded)} €"),
                        french[one.state],
                    )
                    for one in ORDERS
                ],
                ";",
            ).encode("utf-8-sig"),
            tell(),
        ),
        Case(
            "bigcommerce.csv",
            write(
                "Order ID|Customer Email|Customer Phone|Order Date|Order Time|Order Status|"
                "Subtotal (inc tax)|Order Total (inc tax)|Refund Amount|Order Currency Code",
                [
                    (
                        *(one.number, one.email, one.phone, one.on("%d/%m/%Y"), one.on("%H:%M:%S")),
                        *(commerce[one.state], one.total, one.total, one.refunded, "EUR"),
                    )
                    for one in ORDERS
                ],
            ).encode(),
            tell(),
        ),
        Case(
            "magento.csv",
            write(
                "ID|Purchase Date|Grand Total (Base)|Grand Total (Purchased)|Status|Customer Email|"
                "Total Refunded",
                [
                    (
                        *(one.number.zfill(9), one.on("%b %d, %Y, %-I:%M:%S %p")),
                        *(f"€{point(one.total)}", f"€{point(one.total)}", magento[one.state]),
                        *(one.email, f"€{point(one.refunded)}"),
                    )
                    for one in ORDERS
                ],
            ).encode(),
            tell(lambda number: number.zfill(9)),
        ),
        Case(
            "epoch.csv",
            write(
                "order_id|buyer_email|amount|refunded_amount|created_at|state",
                [
                    (
                        *(one.number, one.email, one.total, one.refunded),
                        int(one.placed.timestamp()),
                        words("paid", "cancelled", "open")[one.state],
                    )
                    for one in ORDERS
                ],
            ).encode(),
            tell(),
        ),
        Case(
            "nested.jsonl",
            "".join(
                json.dumps(
                    {
                        "id": one.number,
                        "customer": {"email": one.email, "phone": one.phone or None},
                        "total": {"amount": f"{one.total}", "currency": "EUR"},
                        "refunded": {"amount": f"{one.refunded}"},
                        "created": int(one.placed.timestamp() * 1000),
                        "status": words("completed", "cancelled", "pending")[one.state],
                    }
                )
                + "\n"
                for one in ORDERS
            ).encode(),
            tell(),
        ),
    ]


def _make_spreadsheets() -> list[Case]:
    """What spreadsheets and reports make of a file."""
    plain = tell(has_refunds=False)
    report = "Orders report\r\nShop:,Example\r\nGenerated:,2026-11-01 02:00\r\n\r\n"
    ebay = (
        "Sales Record Number|Order Number|Buyer Username|Buyer Name|Buyer Email|Buyer Phone|"
        "Item Number|Item Title|Quantity|Sold For|Total Price|Payment Method|Sale Date|Paid On Date"
    )
    sold = [
        (
            *(f"5{one.number}", one.number, "u", "N", one.email, one.phone, "1", "T", "1"),
            *(f"${point(one.total)}", f"${point(one.total)}", "Card", one.on("%b-%d-%y")),
            one.on("%b-%d-%y") if one.state == PAID else "",
        )
        for one in ORDERS
        if one.state != CANCELLED
    ]
    return [
        Case(
            "shopify_dutch.csv",
            write_shopify(
                lambda amount: f"{amount:.2f}".replace(".", ","), "%-d-%-m-%Y %H:%M", ";"
            ).encode("utf-8-sig"),
            tell(precision=MINUTES),
        ),
        Case(
            "shopify_american.csv",
            write_shopify(lambda amount: f"{float(amount):g}", "%-m/%-d/%Y %-H:%M", ",").encode(),
            tell(precision=MINUTES),
        ),
        Case("sep_line.csv", f"sep=;\r\n{write(ROBIN, PLAIN, ';')}".encode(), plain),
        Case("utf16.csv", write(ROBIN, PLAIN, "\t").encode("utf-16"), plain),
        Case("report.csv", f"{report}{write(ROBIN, PLAIN)}\r\nTotal,4,1412.45,\r\n".encode(), plain),
        Case(
            "ebay.csv",
            (
                "\r\n"
                + write(ebay, [[], *sold, [], ["5", "record(s) downloaded"], ["Seller ID : example"]])
            ).encode(),
            tell(has_refunds=False, precision=DAYS),
            "USD",
        ),
    ]


def _make_items() -> list[Case]:
    """Several rows for an order."""
    state = words("completed", "cancelled", "pending")
    items = [
        (
            *(one.number, one.on("%Y-%m-%d %H:%M:%S"), state[one.state], one.email, one.phone, "T", "1"),
            *(part, "" if at else one.total, "" if at else one.refunded),
        )
        for one in ORDERS
        for at, part in enumerate(split(one))
    ]
    amazon = (
        "order-id|order-item-id|purchase-date|payments-date|buyer-email|buyer-name|buyer-phone-number|"
        "sku|product-name|quantity-purchased|currency|item-price|item-tax|shipping-price|shipping-tax"
    )
    sold = [
        (
            *(f"302-{one.number}-77", f"{one.number}{at}", one.placed.isoformat()),
            *(one.placed.isoformat(), one.email, "N", one.phone, "S", "T", "1", "EUR"),
            *(part - 1, "0.50", "0.40", "0.10"),
        )
        for one in PAID_ORDERS
        for at, part in enumerate(split(one))
    ]
    dutch = words("Verzonden", "Geannuleerd", "Openstaand")
    prices = []
    for one in ORDERS:
        cents = int(one.total * 100) - 500
        count = 1 if cents % 2 else 2
        prices.append(
            (
                *(one.number, one.on("%d-%m-%Y %H:%M"), one.email, count),
                *(comma(Decimal(cents // count) / 100), "5,00", dutch[one.state]),
            )
        )
    return [
        Case(
            "woocommerce_items.csv",
            write(
                "order_number|date|status|billing_email|billing_phone|item_name|item_quantity|"
                "item_total|order_total|total_refunded",
                items,
            ).encode(),
            tell(),
        ),
        Case(
            "amazon.txt",
            write(amazon, sold, "\t").encode(),
            tell(lambda number: f"302-{number}-77", has_refunds=False),
        ),
        Case(
            "unit_price.csv",
            write(
                "Bestelnr.|Besteldatum|E-mail|Aantal|Prijs (incl. btw)|Verzendkosten|Orderstatus",
                prices,
                ";",
            ).encode(),
            tell(has_refunds=False, precision=MINUTES),
        ),
    ]
