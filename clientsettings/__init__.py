"""What a mail program is told: on pages, on paper, and by the formats that programs ask for."""
