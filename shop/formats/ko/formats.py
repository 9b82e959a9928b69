"""Dates as Korean people write them; what is not here Django says."""

# The half of the day stands before the hour, which Django has behind it.
DATETIME_FORMAT = "Y년 n월 j일 A g:i"
SHORT_DATE_FORMAT = "Y-m-d"
SHORT_DATETIME_FORMAT = "Y-m-d H:i"
