"""Ids that are legal, and that careless code trips over."""

ODD_IDS = (
    "two words",
    " padded ",
    'a "quote"',
    "it's",
    "😀",
    "two\nlines",
    "a,b;c\t|",
    "Ünïcode",
    "../up",
    "NULL",
    "0",
    "^.*$",
)
