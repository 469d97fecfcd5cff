"""Files as shops and people write them in many languages: a draft reads each as it is, or asks."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from upath import UPath

from robin_etl.exceptions import ConfigurationError, ExportError
from robin_etl.exports import files, profiles, sampling
from robin_etl.exports.drafting import draft_profile
from robin_etl.settings import Settings

DAY = date(2026, 11, 3)
# Number, contact, revenue in cents, moment.
Told = tuple[str, str, int, str]

# By what is odd about it: the form, encoding and time zone of a file, its text, and the orders in it.
SHAPES: dict[str, tuple[str, str, str, str, list[Told]]] = {
    "in French, with à before the time": (
        "csv",
        "utf-8",
        "Europe/Amsterdam",
        """\
"N° de commande";"Date";"Adresse e-mail";"Total HT";"Total TTC";"État"
"FR0001";"01/11/2026 à 09:15";"anne@example.fr";"83,33 €";"100,00 €";"Expédiée"
"FR0002";"13/10/2026 à 10:20";"bob@example.fr";"1 000,00 €";"1 200,00 €";"Annulée"
"FR0003";"02/11/2026 à 23:59";"cle@example.fr";"16,67 €";"20,00 €";"Paiement accepté"
""",
        [
            ("FR0001", "anne@example.fr", 10000, "2026-11-01T08:15:00Z"),
            ("FR0003", "cle@example.fr", 2000, "2026-11-02T22:59:00Z"),
        ],
    ),
    "in Italian": (
        "csv",
        "utf-8",
        "Europe/Amsterdam",
        """\
Numero ordine;Data ordine;Email cliente;Imponibile;IVA;Totale;Stato
5001;31/10/2026 18:00:00;rossi@example.it;81,97;18,03;100,00;Spedito
5002;01/11/2026 18:00:00;bianchi@example.it;8,20;1,80;10,00;Annullato
5003;01/11/2026 19:00:00;verdi@example.it;40,98;9,02;50,00;Rimborsato
""",
        [
            ("5001", "rossi@example.it", 10000, "2026-10-31T17:00:00Z"),
            ("5003", "verdi@example.it", 0, "2026-11-01T18:00:00Z"),
        ],
    ),
    "in Spanish": (
        "csv",
        "utf-8",
        "Europe/Amsterdam",
        """\
Nº Pedido,Fecha,Correo electrónico,Estado,"Importe total"
1,"15/10/2026 12:30",ana@example.es,Completado,"1.234,56 €"
2,"16/10/2026 12:30",luis@example.es,Cancelado,"10,00 €"
3,"17/10/2026 12:30",eva@example.es,Pendiente de pago,"12,00 €"
""",
        [("1", "ana@example.es", 123456, "2026-10-15T10:30:00Z")],
    ),
    "in Polish, Windows-1250": (
        "csv",
        "cp1250",
        "Europe/Warsaw",
        """\
Numer zamówienia;Data złożenia;E-mail;Wartość brutto;Waluta;Status
PL/1/2026;2026-10-30 10:00:00;jan@example.pl;1 250,50;PLN;Wysłane
PL/2/2026;2026-10-30 11:00:00;ola@example.pl;99,99;PLN;Anulowane
PL/3/2026;2026-10-31 11:00:00;ewa@example.pl;10,00;PLN;Oczekuje na płatność
""",
        [("PL/1/2026", "jan@example.pl", 125050, "2026-10-30T09:00:00Z")],
    ),
    "in Czech, Windows-1250": (
        "csv",
        "cp1250",
        "Europe/Prague",
        """\
"code";"date";"statusName";"currency";"email";"phone";"totalPriceWithVat";"totalPriceWithoutVat"
"2026000101";"2026-11-01 08:00:00";"Vyřízena";"CZK";"jana@example.cz";"+420777123456";"1210,00";"1000,00"
"2026000102";"2026-11-01 09:00:00";"Stornována";"CZK";"petr@example.cz";"+420777123457";"121,00";"100,00"
"2026000103";"2026-11-01 09:30:00";"Vyřizuje se";"CZK";"eva@example.cz";"+420777123458";"12,10";"10,00"
""",
        [
            ("2026000101", "jana@example.cz", 121000, "2026-11-01T07:00:00Z"),
            ("2026000103", "eva@example.cz", 1210, "2026-11-01T08:30:00Z"),
        ],
    ),
    "in Finnish, points in times": (
        "csv",
        "utf-8",
        "Europe/Helsinki",
        """\
Tilausnumero;Tilauspäivä;Sähköposti;Summa;Tila
3001;1.11.2026 8.05;anna@example.fi;19,90 €;Toimitettu
3002;13.10.2026 9.00;bo@example.fi;29,90 €;Peruttu
""",
        [("3001", "anna@example.fi", 1990, "2026-11-01T06:05:00Z")],
    ),
    "in Hungarian, no cents": (
        "csv",
        "utf-8",
        "Europe/Budapest",
        """\
Rendelésszám;Rendelés dátuma;E-mail cím;Bruttó végösszeg;Állapot
HU1;2026.10.30. 10:00;anna@example.hu;12 990 Ft;Teljesítve
HU2;2026.10.31. 10:00;bela@example.hu;1 990 Ft;Törölve
""",
        [("HU1", "anna@example.hu", 1299000, "2026-10-30T09:00:00Z")],
    ),
    "in Turkish": (
        "csv",
        "utf-8",
        "Europe/Istanbul",
        """\
Sipariş No;Sipariş Tarihi;E-posta;Toplam Tutar;Durum
T1;30.10.2026 10:00;ayse@example.tr;1.250,00 TL;Teslim edildi
T2;31.10.2026 10:00;ali@example.tr;250,00 TL;İptal edildi
""",
        [("T1", "ayse@example.tr", 125000, "2026-10-30T07:00:00Z")],
    ),
    "in Japanese, no cents": (
        "csv",
        "utf-8",
        "Asia/Tokyo",
        """\
注文番号,注文日時,メールアドレス,合計金額,ステータス
J1,2026/10/30 10:00:00,hana@example.jp,"¥12,800",発送済み
J2,2026/10/31 10:00:00,taro@example.jp,"¥1,200",キャンセル
""",
        [("J1", "hana@example.jp", 1280000, "2026-10-30T01:00:00Z")],
    ),
    "in Greek": (
        "csv",
        "utf-8",
        "Europe/Athens",
        """\
Αριθμός παραγγελίας;Ημερομηνία;Email;Σύνολο;Κατάσταση
G1;30/10/2026 10:00;anna@example.gr;1.250,00 €;Ολοκληρωμένη
G2;31/10/2026 10:00;nikos@example.gr;50,00 €;Ακυρωμένη
""",
        [("G1", "anna@example.gr", 125000, "2026-10-30T08:00:00Z")],
    ),
    "in Romanian, with VAT": (
        "csv",
        "utf-8",
        "Europe/Bucharest",
        """\
Număr comandă,Data comenzii,Email,Total cu TVA,Stare
1,30.10.2026 10:00,a@example.ro,"1.250,50 lei",Livrată
2,31.10.2026 10:00,b@example.ro,"50,00 lei",Anulată
""",
        [("1", "a@example.ro", 125050, "2026-10-30T08:00:00Z")],
    ),
    "in Croatian": (
        "csv",
        "utf-8",
        "Europe/Zagreb",
        """\
Broj narudžbe;Datum narudžbe;E-mail;Ukupno;Status
1;01.11.2026. 10:00;a@example.hr;10,00 €;Isporučeno
2;01.11.2026. 11:00;b@example.hr;20,00 €;Otkazano
""",
        [("1", "a@example.hr", 1000, "2026-11-01T09:00:00Z")],
    ),
    "in Bulgarian": (
        "csv",
        "utf-8",
        "Europe/Sofia",
        """\
Номер на поръчка;Дата;Имейл;Обща сума;Статус
1;01.11.2026 10:00;a@example.bg;10,00 лв.;Изпълнена
2;01.11.2026 11:00;b@example.bg;20,00 лв.;Отказана
""",
        [("1", "a@example.bg", 1000, "2026-11-01T08:00:00Z")],
    ),
    "in Lithuanian": (
        "csv",
        "utf-8",
        "Europe/Vilnius",
        """\
Užsakymo numeris;Data;El. paštas;Suma;Būsena
1;2026-11-01 10:00;a@example.lt;10,00 €;Įvykdytas
2;2026-11-01 11:00;b@example.lt;20,00 €;Atšauktas
""",
        [("1", "a@example.lt", 1000, "2026-11-01T08:00:00Z")],
    ),
    "in Korean": (
        "csv",
        "utf-8",
        "Asia/Seoul",
        """\
주문번호,주문일시,이메일,결제금액,주문상태
K1,2026-10-30 10:00:00,a@example.kr,"12,800원",배송완료
K2,2026-10-31 10:00:00,b@example.kr,"1,200원",취소완료
""",
        [("K1", "a@example.kr", 1280000, "2026-10-30T01:00:00Z")],
    ),
    "of Switzerland": (
        "csv",
        "utf-8",
        "Europe/Zurich",
        """\
Bestellnummer;Datum;E-Mail;Total CHF
1;30.10.2026;a@example.ch;1'250.50
2;31.10.2026;b@example.ch;50.00
""",
        [
            ("1", "a@example.ch", 125050, "2026-10-29T23:00:00Z"),
            ("2", "b@example.ch", 5000, "2026-10-30T23:00:00Z"),
        ],
    ),
    "date and time apart": (
        "csv",
        "utf-8",
        "Europe/Amsterdam",
        """\
Order number,Date created,Time,Contact email,Total,Currency,Payment status,Refunded amount,Net amount
10001,"Nov 1, 2026",9:15:00 AM,a@example.com,45.00,EUR,Paid,0,45.00
10002,"Nov 2, 2026",11:45:00 PM,b@example.com,25.00,EUR,Partially refunded,5.00,20.00
10003,"Oct 30, 2026",1:05:00 PM,c@example.com,15.00,EUR,Unpaid,0,15.00
""",
        [
            ("10001", "a@example.com", 4500, "2026-11-01T08:15:00Z"),
            ("10002", "b@example.com", 2000, "2026-11-02T22:45:00Z"),
        ],
    ),
    "four decimals": (
        "csv",
        "utf-8",
        "Europe/Amsterdam",
        """\
order_id,firstname,email,telephone,total,order_status,currency_code,date_added
21,Ann,a@example.com,0612345678,100.0000,Complete,EUR,2026-11-01 10:00:00
22,Bob,b@example.com,0612345679,50.0000,Canceled,EUR,2026-11-01 11:00:00
23,Cat,c@example.com,0612345670,50.0000,Refunded,EUR,2026-11-01 12:00:00
""",
        [
            ("21", "a@example.com", 10000, "2026-11-01T09:00:00Z"),
            ("23", "c@example.com", 0, "2026-11-01T11:00:00Z"),
        ],
    ),
    "refunds as negative rows": (
        "csv",
        "utf-8",
        "Europe/Amsterdam",
        """\
Order number,Type,Email,Amount,Date
1,sale,a@example.com,100.00,2026-11-01 10:00
2,sale,b@example.com,50.00,2026-11-01 11:00
1,refund,a@example.com,-30.00,2026-11-02 11:00
""",
        [
            ("1", "a@example.com", 7000, "2026-11-01T09:00:00Z"),
            ("2", "b@example.com", 5000, "2026-11-01T10:00:00Z"),
        ],
    ),
    "refunds as rows of a type": (
        "csv",
        "utf-8",
        "Europe/Amsterdam",
        """\
Order number,Type,Email,Amount,Date
1,Order,a@example.com,100.00,2026-11-01 10:00
2,Order,b@example.com,50.00,2026-11-01 11:00
1,Refund,a@example.com,30.00,2026-11-02 11:00
""",
        [
            ("1", "a@example.com", 7000, "2026-11-01T09:00:00Z"),
            ("2", "b@example.com", 5000, "2026-11-01T10:00:00Z"),
        ],
    ),
    "the total on each item": (
        "csv",
        "utf-8",
        "Europe/Amsterdam",
        """\
OrderNo,Email,Date,SKU,Qty,LineTotal,Shipping,OrderTotal
1,a@example.com,2026-11-01 10:00,A,1,10.00,5.00,35.00
1,a@example.com,2026-11-01 10:00,B,2,20.00,5.00,35.00
2,b@example.com,2026-11-01 11:00,A,1,10.00,5.00,15.00
""",
        [
            ("1", "a@example.com", 3500, "2026-11-01T09:00:00Z"),
            ("2", "b@example.com", 1500, "2026-11-01T10:00:00Z"),
        ],
    ),
    "a total before tax": (
        "csv",
        "utf-8",
        "Europe/Amsterdam",
        """\
Order,Email,Total excl. VAT,VAT,Date
1,a@example.com,100.00,21.00,2026-11-01
2,b@example.com,50.00,10.50,2026-11-01
""",
        [
            ("1", "a@example.com", 12100, "2026-10-31T23:00:00Z"),
            ("2", "b@example.com", 6050, "2026-10-31T23:00:00Z"),
        ],
    ),
    "refunds taken off already": (
        "csv",
        "utf-8",
        "Europe/Amsterdam",
        """\
order,email,subtotal,shipping,refund,total,date
1,a@example.com,100.00,5.00,20.00,85.00,2026-11-01
2,b@example.com,50.00,5.00,0.00,55.00,2026-11-01
""",
        [
            ("1", "a@example.com", 8500, "2026-10-31T23:00:00Z"),
            ("2", "b@example.com", 5500, "2026-10-31T23:00:00Z"),
        ],
    ),
    "refunds to take off": (
        "csv",
        "utf-8",
        "Europe/Amsterdam",
        """\
order,email,subtotal,shipping,refund,total,date
1,a@example.com,100.00,5.00,20.00,105.00,2026-11-01
2,b@example.com,50.00,5.00,0.00,55.00,2026-11-01
""",
        [
            ("1", "a@example.com", 8500, "2026-10-31T23:00:00Z"),
            ("2", "b@example.com", 5500, "2026-10-31T23:00:00Z"),
        ],
    ),
    "total sales": (
        "csv",
        "utf-8",
        "Europe/Amsterdam",
        """\
Order name,Customer email,Gross sales,Discounts,Returns,Net sales,Shipping,Taxes,Total sales,Day
#1,a@example.com,100.00,-10.00,0.00,90.00,5.00,19.95,114.95,2026-11-01
#2,b@example.com,50.00,0.00,-20.00,30.00,5.00,7.35,42.35,2026-11-01
""",
        [
            ("#1", "a@example.com", 11495, "2026-10-31T23:00:00Z"),
            ("#2", "b@example.com", 4235, "2026-10-31T23:00:00Z"),
        ],
    ),
    "paid is yes or no": (
        "csv",
        "utf-8",
        "Europe/Amsterdam",
        """\
order,email,total,date,paid
1,a@example.com,10.00,2026-11-01,yes
2,b@example.com,20.00,2026-11-01,no
""",
        [("1", "a@example.com", 1000, "2026-10-31T23:00:00Z")],
    ),
    "betaald is ja or nee": (
        "csv",
        "utf-8",
        "Europe/Amsterdam",
        """\
Ordernummer;Datum;Tijd;Naam;E-mail;Totaal;Betaald
1;01-11-2026;10:00;Ann;a@example.nl;10,00;Ja
2;01-11-2026;11:00;Bob;b@example.nl;20,00;Nee
""",
        [("1", "a@example.nl", 1000, "2026-11-01T09:00:00Z")],
    ),
    "cancelled is true or false": (
        "csv",
        "utf-8",
        "Europe/Amsterdam",
        """\
order,email,total,date,cancelled
1,a@example.com,10.00,2026-11-01,false
2,b@example.com,20.00,2026-11-01,true
""",
        [("1", "a@example.com", 1000, "2026-10-31T23:00:00Z")],
    ),
    "is_refunded is 0 or 1": (
        "csv",
        "utf-8",
        "Europe/Amsterdam",
        """\
order,email,total,date,is_refunded
1,a@example.com,10.00,2026-11-01,0
2,b@example.com,20.00,2026-11-01,1
""",
        [
            ("1", "a@example.com", 1000, "2026-10-31T23:00:00Z"),
            ("2", "b@example.com", 0, "2026-10-31T23:00:00Z"),
        ],
    ),
    "is_test is true or false": (
        "csv",
        "utf-8",
        "Europe/Amsterdam",
        """\
order,email,total,date,is_test
1,a@example.com,100.00,2026-11-01,false
2,b@example.com,50.00,2026-11-01,true
""",
        [("1", "a@example.com", 10000, "2026-10-31T23:00:00Z")],
    ),
    "a state that is a place": (
        "csv",
        "utf-8",
        "Europe/Amsterdam",
        """\
order,email,total,date,city,state
1,a@example.com,10.00,2026-11-01,Albany,NY
2,b@example.com,20.00,2026-11-01,Fresno,CA
""",
        [
            ("1", "a@example.com", 1000, "2026-10-31T23:00:00Z"),
            ("2", "b@example.com", 2000, "2026-10-31T23:00:00Z"),
        ],
    ),
    "an id beside a number": (
        "csv",
        "utf-8",
        "Europe/Amsterdam",
        """\
Order ID;Number;Created at;Status;Payment status;Firstname;E-mail;Total (excl. VAT);Total (incl. VAT)
9001;ORD00012;2026-11-01 10:00:00;processing_awaiting_shipment;paid;Ann;a@example.com;100.00;121.00
9002;ORD00013;2026-11-01 11:00:00;cancelled;cancelled;Bob;b@example.com;10.00;12.10
9003;ORD00014;2026-11-01 11:30:00;processing_awaiting_payment;not_paid;Cat;c@example.com;10.00;12.10
""",
        [("ORD00012", "a@example.com", 12100, "2026-11-01T09:00:00Z")],
    ),
    "refunds in a list": (
        "json",
        "utf-8",
        "Europe/Amsterdam",
        """\
[
{"id": 101, "number": "101", "status": "processing", "currency": "EUR", "date_created":
"2026-11-01T10:00:00", "total": "45.50", "billing": {"email": "a@example.com", "phone":
"+31612345678"}, "line_items": [{"id": 1, "name": "Mug", "quantity": 2, "total": "37.60"}],
"refunds": []},
{"id": 102, "number": "102", "status": "cancelled", "currency": "EUR", "date_created":
"2026-11-01T11:00:00", "total": "10.00", "billing": {"email": "b@example.com", "phone": ""},
"line_items": [{"id": 2, "name": "Hat", "quantity": 1, "total": "8.26"}], "refunds": []},
{"id": 103, "number": "103", "status": "completed", "currency": "EUR", "date_created":
"2026-11-02T11:00:00", "total": "20.00", "billing": {"email": "c@example.com", "phone": ""},
"line_items": [{"id": 3, "name": "Hat", "quantity": 1, "total": "8.26"}, {"id": 4, "name": "Cap",
"quantity": 1, "total": "8.27"}], "refunds": [{"id": 9, "reason": "", "total": "-5.00"}]}
]
""",
        [
            ("101", "a@example.com", 4550, "2026-11-01T09:00:00Z"),
            ("103", "c@example.com", 1500, "2026-11-02T10:00:00Z"),
        ],
    ),
    "a list of orders in an object": (
        "json",
        "utf-8",
        "Europe/Amsterdam",
        """\
{"orders": [
{"id": 450789469, "name": "#1001", "order_number": 1001, "email": "a@example.com", "created_at":
"2026-11-01T10:00:00+01:00", "cancelled_at": null, "currency": "EUR", "financial_status": "paid",
"total_price": "45.50", "current_total_price": "45.50", "line_items": [{"id": 1, "price": "20.25",
"quantity": 2}]},
{"id": 450789470, "name": "#1002", "order_number": 1002, "email": "b@example.com", "created_at":
"2026-11-01T11:00:00+01:00", "cancelled_at": null, "currency": "EUR", "financial_status":
"partially_refunded", "total_price": "30.00", "current_total_price": "20.00", "line_items":
[{"id": 2, "price": "10.00", "quantity": 3}]},
{"id": 450789471, "name": "#1003", "order_number": 1003, "email": "c@example.com", "created_at":
"2026-11-01T12:00:00+01:00", "cancelled_at": "2026-11-02T11:00:00+01:00", "currency": "EUR",
"financial_status": "voided", "total_price": "30.00", "current_total_price": "0.00", "line_items":
[]}
]}
""",
        [
            ("1001", "a@example.com", 4550, "2026-11-01T09:00:00Z"),
            ("1002", "b@example.com", 2000, "2026-11-01T10:00:00Z"),
        ],
    ),
    "a list of items": (
        "json",
        "utf-8",
        "Europe/Amsterdam",
        """\
{"items": [
{"increment_id": "000000001", "customer_email": "a@example.com", "grand_total": 45.5,
"total_refunded": 5.5, "order_currency_code": "EUR", "status": "complete", "created_at":
"2026-11-01 09:00:00", "items": [{"sku": "a", "qty_ordered": 2}]},
{"increment_id": "000000002", "customer_email": "b@example.com", "grand_total": 10,
"order_currency_code": "EUR", "status": "canceled", "created_at": "2026-11-01 10:00:00", "items":
[]}
], "total_count": 2}
""",
        [("000000001", "a@example.com", 4000, "2026-11-01T08:00:00Z")],
    ),
}

# By the key of what is asked.
QUESTIONS = {
    "decimal_mark": """\
Bestelnummer;E-mail;Totaal;Datum
1;a@example.com;1.234;2026-11-01
2;b@example.com;2.500;2026-11-01
""",
    "currency_signs": """\
order,email,total,date
1,a@example.com,€100.00,2026-11-01
2,b@example.com,£50.00,2026-11-01
""",
    "grain": """\
Order,Email,Amount,Date
1,a@example.com,10.00,2026-11-01
1,a@example.com,20.00,2026-11-01
2,b@example.com,10.00,2026-11-01
""",
    "status.2": """\
order,email,total,date,status
1,a@example.com,10.00,2026-11-01,2
2,b@example.com,20.00,2026-11-01,5
""",
    "status.gebonkt": """\
order,email,total,date,status
1,a@example.com,10.00,2026-11-01,Gebonkt
2,b@example.com,11.00,2026-11-01,Geflupt
""",
    "status.return received": """\
Order,Email,Date,Total,Status
1,a@example.com,2026-11-01,100.00,Shipped
2,b@example.com,2026-11-01,50.00,Return received
""",
    "status.not cancelled": """\
Order,Email,Date,Total,Status
1,a@example.com,2026-11-01,100.00,Not cancelled
2,b@example.com,2026-11-01,50.00,Cancelled
""",
    "status.cancellation requested": """\
Order,Email,Date,Total,Status
1,a@example.com,2026-11-01,100.00,Cancellation requested
2,b@example.com,2026-11-01,50.00,Not yet shipped
""",
    "columns.revenue": """\
Order,Email,Date,Item,Quantity,Price,Discount
1,a@example.com,2026-11-01,A,1,100.00,10%
2,b@example.com,2026-11-01,A,1,50.00,0%
""",
}


def write(folder: Path, text: str, suffix: str = "csv", encoding: str = "utf-8") -> UPath:
    path = folder / f"orders_{DAY}.{suffix}"
    path.write_bytes(text.encode(encoding))
    return UPath(path)


@pytest.mark.parametrize("name", SHAPES)
def test_a_draft_reads_the_file_as_it_is_meant(name: str, tmp_path: Path) -> None:
    suffix, encoding, zone, text, told = SHAPES[name]
    path = write(tmp_path, text, suffix, encoding)
    draft = draft_profile(sampling.read_everything(path))
    assert draft.questions == []
    profile = profiles.parse_profile(draft.text, "draft").complete(Settings.read(timezone=zone))
    rows = files.read_export(path, profile, DAY).orders.rows
    rows = rows[~rows["is_cancelled"] & rows["other_currency"].isna()]
    shown = rows[["order_number", "email_address", "revenue", "order_date"]].astype(object).to_numpy()
    assert sorted(map(tuple, shown)) == sorted(told)


@pytest.mark.parametrize("key", QUESTIONS)
def test_what_a_file_does_not_say_is_a_question(key: str, tmp_path: Path) -> None:
    draft = draft_profile(sampling.read_everything(write(tmp_path, QUESTIONS[key])))
    assert key in {question.key for question in draft.questions}
    assert "QUESTION" in draft.text
    with pytest.raises(ConfigurationError):
        profiles.parse_profile(draft.text, "draft")


def test_an_address_of_the_shop_is_no_customers(tmp_path: Path) -> None:
    text = "Order,Handled by email,Date,Total\n1,info@shop.example,2026-11-01,10.00\n"
    with pytest.raises(ExportError, match=r"No column .* holds e-mail addresses"):
        draft_profile(sampling.read_everything(write(tmp_path, text)))


def test_totals_in_two_currencies_are_asked_about(tmp_path: Path) -> None:
    text = "Order,Email,Date,Total (USD),Total (EUR)\n1,a@example.com,2026-11-01,110.00,100.00\n"
    [question] = draft_profile(sampling.read_everything(write(tmp_path, text))).questions
    assert question.answers == ("Total (USD)", "Total (EUR)")
