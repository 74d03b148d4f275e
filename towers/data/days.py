"""How long a day, a month and a year are, wherever times are counted in them."""

SECONDS_PER_DAY = 86_400
DAYS_PER_YEAR = 365.25
DAYS_PER_MONTH = DAYS_PER_YEAR / 12
