"""Results as pictures, and as pages of HTML.

`loss_picture`, `scan_picture` and `scan_page` are made of results; `scan_findings` is what the
last two and the terminal say alike of a scan. The files here are shared by the pictures.
"""
