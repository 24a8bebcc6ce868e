"""Results as pictures, and as pages of HTML.

`loss_picture`, `scan_picture` and `scan_page` format results; `scan_findings` has the texts and
marks that the last two and the terminal share. The files here are shared by the pictures.
"""
