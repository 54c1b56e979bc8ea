//! Day numbers: days since the (fictitious) year 0, as TO_DAYS counts them.

/// Days of a month (1 to 12); 0 for month 0.
pub fn days_in_month(year: u16, month: u8) -> u8 {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 0,
    }
}

/// MySQL takes the year 0 for a common year.
pub(super) fn is_leap(year: u16) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) && year != 0
}

/// TO_DAYS: 719528 for 1970-01-01; 0 for the zero date.
pub fn day_number(year: u16, month: u8, day: u8) -> i64 {
    if year == 0 && month == 0 {
        return 0;
    }
    let (mut year, month, day) = (i64::from(year), i64::from(month), i64::from(day));
    let mut days = 365 * year + 31 * (month - 1) + day;
    if month <= 2 {
        year -= 1;
    } else {
        days -= (month * 4 + 23) / 10;
    }
    // Truncating division, so that the months before March of year 0 count no leap day.
    days + year / 4 - ((year / 100 + 1) * 3) / 4
}

/// FROM_DAYS: (year, month, day) of a day number, or `None` outside of 0000-01-01 to 9999-12-31.
pub fn date_of_day_number(number: i64) -> Option<(u16, u8, u8)> {
    if !(1..=3_652_424).contains(&number) {
        return None;
    }
    if number <= 365 {
        return month_of(0, number);
    }
    // At most two steps from the estimate by the mean length of a year.
    let mut year = (number * 400 / 146_097).min(9999) as u16;
    while day_number(year, 1, 1) > number {
        year -= 1;
    }
    while year < 9999 && day_number(year + 1, 1, 1) <= number {
        year += 1;
    }
    month_of(year, number - day_number(year, 1, 1) + 1)
}

/// The date of the `day_of_year`th day, from 1.
fn month_of(year: u16, day_of_year: i64) -> Option<(u16, u8, u8)> {
    let mut left = day_of_year;
    for month in 1..=12u8 {
        let days = i64::from(days_in_month(year, month));
        if left <= days {
            return Some((year, month, left as u8));
        }
        left -= days;
    }
    None
}
