"""Adds up a ledger, and fails far from where it went wrong."""

LINES = ["rent 700", "food 120", "fuel -40", "gift 15"]


def amount_of(text):
    if text.isdigit():
        return int(text)


def read(lines):
    entries = []
    for line in lines:
        name, text = line.split()
        entries.append((name, amount_of(text)))
    return entries


def total(entries):
    result = 0
    for _, amount in entries:
        result += amount
    return result


def main():
    entries = read(LINES)
    entries.sort()
    print("entries:", len(entries), flush=True)
    print("total:", total(entries))


main()
