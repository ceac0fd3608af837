-- A made-up store of a few rows, for when the real data isn't there.

INSERT INTO genre (name) VALUES (N'Rock'), (N'Jazz'), (N'Science Fiction');

INSERT INTO media_type (name) VALUES (N'MPEG audio file'), (N'MPEG-4 video file');

INSERT INTO artist (name) VALUES (N'The Sample Rates'), (N'D''Accord Trio'), (N'Nobody''s Studio');

INSERT INTO album (title, artist_id) VALUES
    (N'First Take', 1),
    (N'Études', 2),
    (N'Tales from Orbit', 3);

INSERT INTO track (name, album_id, media_type_id, genre_id, composer, milliseconds, bytes, unit_price) VALUES
    (N'Count In', 1, 1, 1, N'A. Drummer', 180000, 5767168, 0.99),
    (N'Overdub', 1, 1, 1, N'A. Drummer', 201500, 6400000, 0.99),
    (N'Feedback', 1, 1, 1, NULL, 240250, NULL, 0.99),
    (N'Fade Out', 1, 1, 1, NULL, 320000, 9999999, 0.99),
    (N'Étude No. 1', 2, 1, 2, N'D''Accord', 260000, 8123456, 0.99),
    (N'Étude No. 2', 2, 1, 2, N'D''Accord', 275000, 8523456, 0.99),
    (N'Lift-Off', 3, 2, 3, NULL, 2700000, 512345678, 1.99),
    (N'Re-Entry', 3, 2, 3, NULL, 2650000, 502345678, 1.99),
    (N'Untitled', NULL, 1, NULL, NULL, 1000, NULL, 0.00);

INSERT INTO employee (last_name, first_name, title, reports_to, birth_date, hire_date, address, city, state, country, postal_code, phone, fax, email) VALUES
    (N'Boss', N'Bea', N'General Manager', NULL, '1961/2/3', '2001/1/2', N'1 Main Street', N'Sampletown', NULL, N'Nowhere', N'00001', N'555-0100', NULL, N'bea@store.example'),
    (N'Seller', N'Sam', N'Sales Manager', 1, '1971/12/31', '2002/2/28', NULL, NULL, NULL, NULL, NULL, N'555-0101', NULL, N'sam@store.example'),
    (N'Agent', N'Ann', N'Sales Support Agent', 2, '1981/5/6', '2003/3/4', NULL, NULL, NULL, NULL, NULL, N'555-0102', NULL, N'ann@store.example'),
    (N'Bond', N'Ben', N'Sales Support Agent', 2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, N'ben@store.example'),
    (N'Root', N'Ira', N'IT Staff', 1, NULL, '2004/5/6', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);

INSERT INTO customer (first_name, last_name, company, address, city, state, country, postal_code, phone, fax, email, support_rep_id) VALUES
    (N'Cara', N'Client', N'Client & Co.', N'Am Hof 1', N'Köln', NULL, N'Germany', N'50667', N'+49 221 555000', NULL, N'cara@client.example', 3),
    (N'Carl', N'Customer', NULL, N'2 Rue Neuve', N'Paris', NULL, N'France', N'75001', NULL, NULL, N'carl@customer.example', 3),
    (N'Cleo', N'Buyer', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, N'cleo@buyer.example', 3),
    (N'Curt', N'Patron', N'Patron Ltd.', N'3 High Street', N'Leeds', NULL, N'United Kingdom', N'LS1 1AA', N'+44 113 555000', N'+44 113 555001', N'curt@patron.example', 4),
    (N'Cora', N'Regular', N'Regular SA', N'Calle Mayor 4', N'Madrid', NULL, N'Spain', N'28013', NULL, NULL, N'cora@regular.example', 4);

INSERT INTO invoice (customer_id, invoice_date, billing_address, billing_city, billing_state, billing_country, billing_postal_code, total) VALUES
    (1, '2024/2/29', N'Am Hof 1', N'Köln', NULL, N'Germany', N'50667', 1.98),
    (4, '2024/3/1', N'3 High Street', N'Leeds', NULL, N'United Kingdom', N'LS1 1AA', 1.99);

INSERT INTO invoice_line (invoice_id, track_id, unit_price, quantity) VALUES (1, 1, 0.99, 1), (1, 5, 0.99, 1), (2, 7, 1.99, 1);

INSERT INTO playlist (name) VALUES (N'Music'), (N'Movies'), (N'Grunge'), (N'On-The-Go 1');

INSERT INTO playlist_track (playlist_id, track_id) VALUES (1, 1), (1, 2), (1, 3), (1, 5), (3, 1), (3, 3), (3, 4), (4, 6);
