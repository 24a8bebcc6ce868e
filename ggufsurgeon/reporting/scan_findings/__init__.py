"""Words, marks, colours and spans that page, picture and terminal share for scans."""
