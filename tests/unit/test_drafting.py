"""A profile drafted from a file reads that file; what its rows don't say is a question."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pandas as pd
import pytest
from upath import UPath

from robin_etl.exceptions import ConfigurationError, ExportError
from robin_etl.exports import files, profiles, sampling
from robin_etl.exports.choosing import OTHER_CURRENCY
from robin_etl.exports.drafting import Draft, draft_profile
from robin_etl.exports.drafting.statuses import find_meaning
from robin_etl.settings import Settings
from tests.cases import ZONE, Case, make_cases
from tests.spreadsheets import make_spreadsheet

DAY = date(2026, 11, 1)


def draft(
    folder: Path, content: bytes | str, name: str = "o.csv", answers: Mapping[str, str] | None = None
) -> Draft:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return draft_profile(sampling.read_everything(UPath(folder / name)), answers)


def read(folder: Path, drafted: Draft, name: str = "o.csv", currency: str = "EUR") -> files.Export:
    profile = profiles.parse_profile(drafted.text, "the draft")
    settings = Settings.read(timezone=ZONE, currency=currency)
    return files.read_export(UPath(folder / name), profile.complete(settings), DAY)


def tell(export: files.Export) -> list[tuple[object, ...]]:
    """What a first run tells of what was read."""
    rows = export.orders.rows[~export.orders.rows["is_cancelled"]]
    names = ["order_number", "email_address", "revenue", "order_date"]
    return [tuple(row) for row in rows[names].astype(object).to_numpy()]


def draft_and_tell(
    folder: Path, content: bytes | str, name: str = "o.csv", answers: Mapping[str, str] | None = None
) -> list[tuple[object, ...]]:
    drafted = draft(folder, content, name, answers)
    assert drafted.questions == []
    return tell(read(folder, drafted, name))


@pytest.mark.parametrize("case", make_cases(), ids=lambda case: case.name)
def test_a_draft_reads_its_file_to_the_cent_and_the_second(tmp_path: Path, case: Case) -> None:
    drafted = draft(tmp_path, case.content, case.name)
    assert drafted.questions == []
    assert tell(read(tmp_path, drafted, case.name, case.currency)) == list(case.told)


def test_a_list_of_orders_without_a_contact_is_refused_with_what_to_export(tmp_path: Path) -> None:
    text = "ID,Customer,Total,Date\n1,A. Name,5.00,2026-10-31\n"
    with pytest.raises(ExportError, match=r"holds e-mail addresses or phone numbers.*customer's e-mail"):
        draft(tmp_path, text)
    with pytest.raises(ExportError, match="a header and no rows"):
        draft(tmp_path, "order_number,email_address,revenue,order_date\n")


def test_numbers_that_a_spreadsheet_rounded_are_no_orders_of_a_draft(tmp_path: Path) -> None:
    rows = '"1,00E+11",a@x.nl,10.00,2026-10-31\n"1,00E+11",b@x.nl,11.00,2026-10-31\n'
    drafted = draft(tmp_path, f"order_number,email_address,revenue,order_date\n{rows}")
    export = read(tmp_path, drafted)
    assert export.orders.rows["damaged"].tolist() == ["order_number", "order_number"]


def write_dates(*texts: str, delimiter: str = ",") -> str:
    rows = [f'{n},c{n}@x.nl,10.00,"{text}"' for n, text in enumerate(texts, start=1)]
    return "\n".join(["order_number,email_address,total,order_date", *rows, ""]).replace(",", delimiter)


@pytest.mark.parametrize(
    ("texts", "moments"),
    [
        (["31/10/2026 09:50", "1/11/2026 9:05"], ["2026-10-31T08:50:00Z", "2026-11-01T08:05:00Z"]),
        (["10/31/2026 9:50 PM"], ["2026-10-31T20:50:00Z"]),
        (["31.10.26", "01.11.26 09:05"], ["2026-10-30T23:00:00Z", "2026-11-01T08:05:00Z"]),
        (["05.04.2026"], ["2026-04-04T22:00:00Z"]),
        (["31 okt. 2026, 09:50", "3 mei 2026, 10:00"], ["2026-10-31T08:50:00Z", "2026-05-03T08:00:00Z"]),
        (["31 octobre 2026 à 09:50", "1 août 2026 à 10:00"], None),
        (["31. Oktober 2026 09:50 Uhr", "1. März 2026 10:00 Uhr"], None),
        (["lauantai 31 lokakuuta 2026 9.50"], ["2026-10-31T08:50:00Z"]),
        (["Oct 31, 2026 9:50:26 AM"], ["2026-10-31T08:50:26Z"]),
        (["Sat, 31 Oct 2026 09:50:26 +0000"], ["2026-10-31T09:50:26Z"]),
        (["20261031"], ["2026-10-30T23:00:00Z"]),
        (["20261031095026"], ["2026-10-31T08:50:26Z"]),
        (["2026/10/31 09:50"], ["2026-10-31T08:50:00Z"]),
        (["1793440226"], ["2026-10-31T09:50:26Z"]),
        (["1793440226000"], ["2026-10-31T09:50:26Z"]),
        (["46326.41002314815", "46327"], ["2026-10-31T08:50:26Z", "2026-10-31T23:00:00Z"]),
        (["31/10/2026 9:50:26 a. m."], ["2026-10-31T08:50:26Z"]),
        (["2026年10月31日 09:50"], ["2026-10-31T08:50:00Z"]),
        (["Oct 31 2026 09:50:26 GMT+0100"], ["2026-10-31T08:50:26Z"]),
        (["2026.10.31. 9:50:26"], ["2026-10-31T08:50:26Z"]),
        (["2026-10-31 09:50:26 UTC"], ["2026-10-31T09:50:26Z"]),
        (["2026-10-31T09:50:26.123+01:00"], ["2026-10-31T08:50:26Z"]),
    ],
)
def test_dates_are_read_as_all_of_them_say(
    tmp_path: Path, texts: list[str], moments: list[str] | None
) -> None:
    found = [row[3] for row in draft_and_tell(tmp_path, write_dates(*texts))]
    assert not pd.isna(pd.Series(found)).any()
    if moments:
        assert found == moments


def test_a_column_that_is_named_for_utc_is_in_it_whatever_time_zone_is_set(tmp_path: Path) -> None:
    text = "id,Created (UTC),Amount,Customer Email\nch_1,2026-10-31 09:50,105.00,a@x.nl\n"
    assert draft_and_tell(tmp_path, text) == [("ch_1", "a@x.nl", 10500, "2026-10-31T09:50:00Z")]


def test_dates_in_a_form_that_nobody_knows_are_asked_about_as_such(tmp_path: Path) -> None:
    text = write_dates("2026-10-31 09:50:26 CET")
    assert [question.key for question in draft(tmp_path, text).questions] == ["date_formats"]
    told = draft_and_tell(tmp_path, text, answers={"date_formats": "%Y-%m-%d %H:%M:%S CET"})
    assert [row[3] for row in told] == ["2026-10-31T08:50:26Z"]


def test_day_or_month_first_is_asked_where_every_date_can_be_read_both_ways(tmp_path: Path) -> None:
    text = write_dates("05/04/2026", "06/04/2026")
    drafted = draft(tmp_path, text)
    [question] = drafted.questions
    assert question.key == "date_formats"
    assert question.answers == ("the day", "the month")
    assert "05/04/2026" in question.text
    assert "# QUESTION" in drafted.text
    with pytest.raises(ConfigurationError, match="date_formats"):
        profiles.parse_profile(drafted.text, "the draft")
    told = draft_and_tell(tmp_path, text, answers={"date_formats": "the month"})
    assert [row[3] for row in told] == ["2026-05-03T22:00:00Z", "2026-06-03T22:00:00Z"]


def test_the_order_of_the_rows_speaks_for_one_way_to_read_dates(tmp_path: Path) -> None:
    texts = ["10/11/2026", "10/11/2026", "11/11/2026", "12/11/2026", "01/12/2026", "02/12/2026"]
    told = draft_and_tell(tmp_path, write_dates(*texts))
    assert told[4][3] == "2026-11-30T23:00:00Z"


def write_amounts(*texts: str) -> str:
    rows = [f"{n};c{n}@x.nl;{text};2026-10-31" for n, text in enumerate(texts, start=1)]
    return "\n".join(["order_number;email_address;total;order_date", *rows, ""])


@pytest.mark.parametrize(
    ("texts", "cents"),
    [
        (["1.234,50", "5"], [123450, 500]),
        (["1,234.50", "5"], [123450, 500]),
        (["€ 1 234,50", "€ 5,5"], [123450, 550]),
        (["CHF 1'234.50", "CHF 5.00"], [123450, 500]),
        (["R$ 1.234,50", "R$ 0,99"], [123450, 99]),
        (["1 234,50 kr", "99 kr"], [123450, 9900]),
        (["1 234,50 zł", "9,90 zł"], [123450, 990]),
        (["1 234,50 Kč", "9,90 Kč"], [123450, 990]),
        (["12.345,00 TL", "5,25 TL"], [1234500, 525]),
        (["£1,234.50", "£5.25"], [123450, 525]),
        (["1234,5 EUR", "5 EUR"], [123450, 500]),
        (["₹1,23,456.00", "₹5.00"], [12345600, 500]),
        (["12,-", "5,50"], [1200, 550]),
        (["100", "7"], [10000, 700]),
        (["1.234", "1.234,00"], [123400, 123400]),
    ],
)
def test_amounts_are_read_as_all_of_them_say(tmp_path: Path, texts: list[str], cents: list[int]) -> None:
    drafted = draft(tmp_path, write_amounts(*texts), answers={"decimal_mark": "a decimal comma"})
    assert [row[2] for row in tell(read(tmp_path, drafted))] == cents


def test_the_decimal_mark_is_asked_where_the_amounts_do_not_say(tmp_path: Path) -> None:
    drafted = draft(tmp_path, write_amounts("1.234", "5.678"))
    assert [question.key for question in drafted.questions] == ["decimal_mark"]
    with pytest.raises(ConfigurationError, match="decimal_mark"):
        profiles.parse_profile(drafted.text, "the draft")
    told = draft_and_tell(
        tmp_path, write_amounts("1.234", "5.678"), answers={"decimal_mark": "a decimal comma"}
    )
    assert [row[2] for row in told] == [123400, 567800]


@pytest.mark.parametrize(
    ("words", "meaning"),
    [
        ("Awaiting Payment|Pending|Unpaid|On hold|Failed|Expired|payment_review|Draft", "pending"),
        ("Openstaand|In afwachting|Niet betaald|Zahlung offen|En attente|Pendiente de pago", "pending"),
        ("In attesa di pagamento|Väntar på betalning|Oczekuje na płatność|Čeká na platbu", "pending"),
        ("Aguardando pagamento|Ödeme bekleniyor|Fizetésre vár|Odottaa maksua|Afventer", "pending"),
        ("Cancelled|canceled|Voided|Geannuleerd|Storniert|Annulée|Cancelado|Annullato", "cancelled"),
        (
            "Avbruten|Annulleret|Peruutettu|Anulowane|Zrušeno|Törölve|İptal edildi|Stornována",
            "cancelled",
        ),
        ("Refunded|Terugbetaald|Erstattet|Remboursée|Reembolsado|Rimborsato|Zwrócone", "refunded"),
        ("Paid|Completed|Processing|Shipped|Partially refunded|Awaiting Shipment|Unfulfilled", "order"),
        ("Betaald|Verzonden|Abgeschlossen|Bezahlt|Payée|Expédiée|Pagado|Completato|Levererad", "order"),
        (
            "Zrealizowane|Wysłane|Dokončeno|Zaplaceno|Entregue|Teljesítve|Tamamland\u0131|Toimitettu",
            "order",
        ),
        ("Nicht bezahlt|Unbezahlt|Non payé|Nieopłacone|Ubetalt|Ikke betalt|Neuhrazeno", "pending"),
        ("Xyzzy", None),
    ],
)
def test_statuses_mean_what_their_words_say_in_many_languages(words: str, meaning: str | None) -> None:
    assert {word: find_meaning(word) for word in words.split("|")} == dict.fromkeys(
        words.split("|"), meaning
    )


def test_a_status_that_nobody_knows_is_asked_and_keeps_the_draft_from_being_used(tmp_path: Path) -> None:
    text = (
        "order_number,email_address,total,order_date,status\n"
        "1,a@x.nl,5.00,2026-10-31,Xyzzy\n2,b@x.nl,5.00,2026-10-31,Paid\n"
    )
    drafted = draft(tmp_path, text)
    assert [question.key for question in drafted.questions] == ["status.xyzzy"]
    with pytest.raises(ConfigurationError, match="undecided has xyzzy"):
        profiles.parse_profile(drafted.text, "the draft")
    told = draft_and_tell(tmp_path, text, answers={"status.xyzzy": "cancelled"})
    assert [row[0] for row in told] == ["2"]


def draft_items(folder: Path, header: str, *rows: str, **answers: str) -> dict[object, object]:
    """The cents of each order."""
    text = "\n".join([header, *rows, ""])
    return {row[0]: row[2] for row in draft_and_tell(folder, text, answers=answers)}


START = "order_number,email,order_date,sku"


def test_a_total_that_differs_between_the_rows_of_an_order_adds_up(tmp_path: Path) -> None:
    rows = ["1,a@x.nl,2026-10-31,s,5.00", "1,a@x.nl,2026-10-31,t,7.50", "2,b@x.nl,2026-10-31,s,5.00"]
    assert draft_items(tmp_path, f"{START},total", *rows) == {"1": 1250, "2": 500}


def test_a_total_that_is_on_all_rows_of_an_order_or_the_first_alone_counts_once(tmp_path: Path) -> None:
    rows = ["1,a@x.nl,2026-10-31,s,12.50", "1,a@x.nl,2026-10-31,t,{}", "2,b@x.nl,2026-10-31,s,5.00"]
    for further in ("12.50", ""):
        written = [row.format(further) for row in rows]
        assert draft_items(tmp_path, f"{START},order total", *written) == {"1": 1250, "2": 500}


def test_rows_without_a_number_go_on_with_the_order_above(tmp_path: Path) -> None:
    rows = ["1,a@x.nl,2026-10-31,s,12.50", ",,,t,", "2,b@x.nl,2026-10-31,s,5.00"]
    assert draft_items(tmp_path, f"{START},order total", *rows) == {"1": 1250, "2": 500}


def test_prices_times_quantities_with_what_is_added_and_taken_off(tmp_path: Path) -> None:
    header = f"{START},quantity,unit price,shipping,discount"
    rows = [
        "1,a@x.nl,2026-10-31,s,2,5.00,4.00,1.50",
        "1,a@x.nl,2026-10-31,t,1,7.50,,",
        "2,b@x.nl,2026-10-31,s,3,1.00,,",
    ]
    assert draft_items(tmp_path, header, *rows) == {"1": 2000, "2": 300}


def test_what_all_rows_of_an_order_have_alike_is_asked_where_it_may_add_up(tmp_path: Path) -> None:
    header = f"{START},quantity,unit price,shipping"
    rows = ["1,a@x.nl,2026-10-31,s,2,5.00,4.00", "1,a@x.nl,2026-10-31,t,1,7.50,4.00"]
    once = draft_items(tmp_path, header, *rows, **{"columns.revenue.shipping": "once"})
    each = draft_items(tmp_path, header, *rows, **{"columns.revenue.shipping": "each row"})
    assert (once, each) == ({"1": 2150}, {"1": 2550})


def test_refunds_as_rows_are_seen(tmp_path: Path) -> None:
    header = "type,order_number,email,order_date,amount"
    rows = [
        "refund,1,a@x.nl,2026-11-01,{}",
        "sale,1,a@x.nl,2026-10-31,10.00",
        "sale,2,b@x.nl,2026-10-31,20.00",
    ]
    for amount in ("-4.00", "4.00"):
        written = [row.format(amount) for row in rows]
        assert draft_items(tmp_path, header, *written) == {"1": 600, "2": 2000}


def test_refunds_are_taken_off_whatever_their_sign(tmp_path: Path) -> None:
    header = "order_number,email,order_date,total,refunded"
    for amount in ("-4.00", "4.00"):
        rows = [f"1,a@x.nl,2026-10-31,10.00,{amount}", "2,b@x.nl,2026-10-31,20.00,"]
        assert draft_items(tmp_path, header, *rows) == {"1": 600, "2": 2000}


def test_an_amount_before_tax_has_its_tax_added(tmp_path: Path) -> None:
    header = "order_number,email,order_date,Total excl. VAT,VAT"
    assert draft_items(tmp_path, header, "1,a@x.nl,2026-10-31,10.00,2.10") == {"1": 1210}
    header = "order_number,email,order_date,Total excl. VAT,VAT,Total incl. VAT"
    assert draft_items(tmp_path, header, "1,a@x.nl,2026-10-31,10.00,2.10,12.10") == {"1": 1210}


def test_a_column_with_brackets_in_its_name_is_an_amount_too(tmp_path: Path) -> None:
    header = "order_number,email,order_date,Total [EUR],Refunded [EUR]"
    assert draft_items(tmp_path, header, "1,a@x.nl,2026-10-31,10.00,2.00") == {"1": 800}


def test_orders_in_another_currency_are_left_out_and_counted(tmp_path: Path) -> None:
    text = (
        "order_number,email,order_date,total,currency\n"
        "1,a@x.nl,2026-10-31,10.00,EUR\n2,b@x.nl,2026-10-31,9.00,GBP\n"
    )
    export = read(tmp_path, draft(tmp_path, text))
    assert export.orders.left_out == {OTHER_CURRENCY: 1}
    assert [row[0] for row in tell(export)] == ["1"]


def test_columns_that_no_name_tells_are_asked_for(tmp_path: Path) -> None:
    text = "aa,bb,cc,dd\nx1,a@x.nl,10.00,2026-10-31\nx2,b@x.nl,11.00,2026-10-30\n"
    drafted = draft(tmp_path, text)
    assert {question.key for question in drafted.questions} == {
        "columns.order_number",
        "columns.revenue",
    }
    assert all(question.answers for question in drafted.questions)
    told = draft_and_tell(
        tmp_path, text, answers={"columns.order_number": "aa", "columns.revenue": "cc"}
    )
    assert [row[:3] for row in told] == [("x1", "a@x.nl", 1000), ("x2", "b@x.nl", 1100)]


def test_a_spreadsheet_is_drafted_with_its_sheet_and_the_lines_around_its_rows(tmp_path: Path) -> None:
    orders: list[list[str | float | None]] = [
        ["Orders of October"],
        [],
        ["Order number", "E-mail", "Total", "Order date"],
        ["007", "a@x.nl", 12.5, "31-10-2026"],
        ["008", "b@x.nl", 5.0, "30-10-2026"],
        [],
        ["Total", None, 17.5],
    ]
    content = make_spreadsheet([["Read me"]], Orders=orders)
    told = draft_and_tell(tmp_path, content, "o.xlsx")
    assert [row[:3] for row in told] == [("007", "a@x.nl", 1250), ("008", "b@x.nl", 500)]


@pytest.mark.parametrize(
    ("encoding", "header", "status"),
    [
        ("windows-1250", "Číslo objednávky;E-mail;Celková cena;Datum objednávky;Stav", "Zaplaceno"),
        (
            "windows-1250",
            "Numer zamówienia;E-mail;Wartość zamówienia;Data zamówienia;Status",
            "Opłacone",
        ),
        ("windows-1252", "Número de pedido;Correo electrónico;Total;Fecha de pedido;Estado", "Pagado"),
        ("windows-1252", "Beställningsnummer;E-post;Summa;Orderdatum;Status", "Slutförd"),
        ("windows-1252", "Tilausnumero;Sähköposti;Yhteensä;Tilauspäivä;Tila", "Valmis"),
        (
            "windows-1254",
            "Sipariş Numaras\u0131;E-posta;Toplam Tutar;Sipariş Tarihi;Durum",
            "Tamamland\u0131",
        ),
        ("utf-8", "Rendelésszám;E-mail cím;Végösszeg;Rendelés dátuma;Állapot", "Teljesítve"),
        ("utf-8", "Número da encomenda;E-mail;Valor total;Data da encomenda;Estado", "Concluída"),
        ("utf-8", "Numero ordine;Indirizzo e-mail;Totale ordine;Data ordine;Stato", "Completato"),
        ("utf-8", "Ordrenummer;E-mailadresse;I alt;Ordredato;Ordrestatus", "Gennemført"),
        ("windows-1251", "Номер заказа;Эл. почта;Сумма;Дата;Статус", "Оплачен"),
        ("windows-1253", "Αριθμός παραγγελίας;Email;Σύνολο;Ημερομηνία;Κατάσταση", "Ολοκληρώθηκε"),
        ("utf-16", "Număr comandă;Adresă de email;Total comandă;Data comenzii;Stare", "Finalizată"),
    ],
)
def test_a_draft_knows_the_columns_of_many_languages_in_their_encodings(
    tmp_path: Path, encoding: str, header: str, status: str
) -> None:
    rows = [f"A-{n};c{n}@x.eu;1{n},50;{n}.10.2026 10:00;{status}" for n in (1, 2, 3)]
    content = "\r\n".join([header, *rows, ""]).encode(encoding)
    told = draft_and_tell(tmp_path, content)
    assert [row[:3] for row in told] == [(f"A-{n}", f"c{n}@x.eu", 1050 + n * 100) for n in (1, 2, 3)]


SHAPES = {
    "the first of several columns of one name": (
        (
            "Order Number,Email,Total,Order Date,Email\n"
            "1,a@x.nl,10.50,2026-10-31,z@x.nl\n2,b@x.nl,1.00,2026-10-30,\n"
        ),
        {"1": 1050, "2": 100},
    ),
    "amounts in cents": (
        "order_id,email,amount_cents,created_at\n1,a@x.nl,10500,2026-10-31\n2,b@x.nl,999,2026-10-31\n",
        {"1": 10500, "2": 999},
    ),
    "line ends of old": (
        "order_number,email,total,date\r1,a@x.nl,10.50,2026-10-31\r2,b@x.nl,1.00,2026-10-30\r",
        {"1": 1050, "2": 100},
    ),
    "a status of the order and one of its payment": (
        (
            "Número do Pedido;E-mail;Data;Status do Pedido;Status do Pagamento;Total\n"
            "1;a@x.br;31/10/2026;Concluído;Confirmado;105.00\n"
            "2;b@x.br;31/10/2026;Cancelado;Recusado;105.00\n"
            "3;c@x.br;31/10/2026;Concluído;Pendente;105.00\n"
        ),
        {"1": 10500},
    ),
    "refunds as rows among fees": (
        (
            "Date,Time,Order,Type,Customer email,Gross,Fee,Net\n"
            "31/10/2026,09:50:26,100,Sale,a@x.nl,50.00,-1.00,49.00\n"
            "31/10/2026,11:50:26,100,Refund,a@x.nl,-20.00,0.50,-19.50\n"
            "31/10/2026,12:50:26,101,Sale,b@x.nl,10.00,-0.50,9.50\n"
        ),
        {"100": 3000, "101": 1000},
    ),
    "a report that a spreadsheet has saved": (
        (
            "Sales report;;;;\nPeriod: 01-10-2026 - 31-10-2026;;;;\n;;;;\n"
            "Order no;Customer e-mail;Date;Amount;State\n"
            "1;a@x.nl;31-10-2026 09:50;1.234,50;Paid\n2;b@x.nl;31-10-2026 10:50;34,50;Cancelled\n"
            ";;Total;1.269,00;\n"
        ),
        {"1": 123450},
    ),
    "lines of delimiters at the end": (
        "order_number;email;total;date;;\n1;a@x.nl;10,50;31-10-2026;;\n;;;;;\n;;;;;\n",
        {"1": 1050},
    ),
    "prices with tax, a discount of a row, shipping of the order": (
        (
            "Bestellung;Kunde Mail;Bestelldatum;Artikel;Anzahl;Einzelpreis brutto;Rabatt;Versand\n"
            "A1;a@x.de;31.10.2026;x;2;10,00;0,00;4,90\nA1;a@x.de;31.10.2026;y;1;5,50;1,00;0,00\n"
            "A2;b@x.de;31.10.2026;y;1;5,50;0,00;4,90\n"
        ),
        {"A1": 2940, "A2": 1040},
    ),
    "numbers that a spreadsheet is kept from rounding": (
        (
            "Order,Email,Total,Date\n"
            '"=""00123""",a@x.nl,10.00,2026-10-31\n"=""00124""",b@x.nl,11.00,2026-10-31\n'
        ),
        {"00123": 1000, "00124": 1100},
    ),
    "an apostrophe before each number": (
        "Order,Email,Total,Date\n'00123,a@x.nl,10.00,2026-10-31\n'00124,b@x.nl,11.00,2026-10-31\n",
        {"00123": 1000, "00124": 1100},
    ),
    "a phone number alone": (
        "order,phone,total,date\nA1,+31612345678,10.00,2026-10-31\nA2,0612345678,11.00,2026-10-31\n",
        {"A1": 1000, "A2": 1100},
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_further_shapes_come_out_to_the_cent(tmp_path: Path, shape: str) -> None:
    text, cents = SHAPES[shape]
    assert {row[0]: row[2] for row in draft_and_tell(tmp_path, text)} == cents


def test_a_date_and_its_time_with_points_in_two_columns_are_one_moment(tmp_path: Path) -> None:
    text = "Ordrenummer;Dato;Kl.;E-mail;I alt\n1;31-10-2026;09.50;a@x.dk;1.234,50\n"
    told = draft_and_tell(tmp_path, text)
    assert told == [("1", "a@x.dk", 123450, "2026-10-31T08:50:00Z")]
